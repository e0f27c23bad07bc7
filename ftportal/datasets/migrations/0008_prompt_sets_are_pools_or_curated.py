"""Prompt sets that were drawn at random are pools: checks draw from them."""

from typing import Any

from django.db import migrations, models


def pools_of(apps: Any, schema_editor: Any) -> None:
    apps.get_model("datasets", "PromptSet").objects.filter(is_random_sample=True).update(
        kind="pool"
    )


def random_samples_of(apps: Any, schema_editor: Any) -> None:
    apps.get_model("datasets", "PromptSet").objects.filter(kind="pool").update(
        is_random_sample=True
    )


class Migration(migrations.Migration):
    dependencies = [("datasets", "0007_promptset_max_new_tokens")]

    operations = [
        migrations.AddField(
            model_name="promptset",
            name="kind",
            field=models.CharField(
                choices=[("curated", "Chosen by hand"), ("pool", "A pool that checks draw from")],
                default="curated",
                help_text=(
                    "a pool carries a claim about all of its prompts; a curated set carries none"
                ),
                max_length=10,
            ),
        ),
        migrations.RunPython(pools_of, random_samples_of),
        migrations.RemoveField(model_name="promptset", name="is_random_sample"),
    ]
