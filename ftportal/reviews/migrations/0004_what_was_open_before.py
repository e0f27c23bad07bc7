"""Items ask for what their plans ask for; jobs that answer for a check no longer name its sides."""

from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def items_need_their_plans_votes(apps: Any, schema_editor: Any) -> None:
    checks = apps.get_model("reviews", "SpotCheck").objects.filter(pk=OuterRef("spot_check"))
    apps.get_model("reviews", "ReviewItem").objects.update(
        votes_needed=Subquery(checks.values("votes_an_item")[:1])
    )


def jobs_name_no_side(apps: Any, schema_editor: Any) -> None:
    for answers in apps.get_model("reviews", "GenerationSet").objects.select_related("prompt_set"):
        apps.get_model("jobs", "Job").objects.filter(pk=answers.job_id).update(
            title=f"Answer {answers.prompt_set.name} for a spot-check"[:200], created_by=None
        )


class Migration(migrations.Migration):
    dependencies = [('reviews', '0003_plans_policy_and_leases')]

    operations = [
        migrations.RunPython(items_need_their_plans_votes, migrations.RunPython.noop),
        migrations.RunPython(jobs_name_no_side, migrations.RunPython.noop),
    ]
