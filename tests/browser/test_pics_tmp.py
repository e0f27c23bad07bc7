from pathlib import Path
from typing import Any

import pytest

from ftportal.accounts.models import User
from ftportal.jobs.models import Job, JobState
from ftportal.reviews import services
from ftportal.reviews.models import Generation, TrialAnswer
from ftportal.reviews.services import *
from tests.ftportal.house import *
from tests.ftportal.reviews.test_quorum import vote

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OUT = Path("/tmp/pics-plans")
OUT.mkdir(exist_ok=True)


def test_pics(page_for: Any, cast: Any, data_dir: Any, complaints: list[str]) -> None:
    model = model_make("SmolLM2-135M-Instruct")
    cand = checkpoint_make(model, "Careful session", model.pretrained, run_by=cast.tina)
    old = checkpoint_make(model, "Formal answers, slowly", model.pretrained, run_by=cast.tina)
    rex = User.objects.create(username="rex", first_name="Rex", is_reviewer=True)
    # decided with third
    done = check_make(old, model.pretrained, prompts=6, votes_an_item=2, submitter=cast.tina)
    Generation.objects.update(
        text="The file is opened with open(), and the with statement closes it again when the block ends."
    )
    for n, item in enumerate(done.items.all()):
        vote(
            item,
            cast.rob,
            "candidate" if n % 2 else "baseline",
            defect="it invents a module" if n == 0 else "",
        )
        vote(item, cast.rosa, "candidate", defect="no such module" if n == 0 else "")
        if n % 2 == 0:
            vote(item, rex, "tie", defect="the module does not exist" if n == 0 else "")
    stale = check_make(old, model.pretrained, prompts=3)
    services.spot_check_close(
        spot_check=stale, actor=cast.ada, reason="There is no third reviewer this week."
    )
    prompts_make(12, name="Everyday prompts")
    prompts_make(120, name="Real use, November", is_random=True)
    for n in range(2):
        t = services.trial_ask(
            checkpoint=cand,
            prompt="Write a Python function that reads a file line by line."
            if n
            else "Who are you?",
            actor=cast.tina,
        )
        a, b = t.answers.all()
        TrialAnswer.objects.filter(pk=a.pk).update(
            text="def read(path):\n    with open(path) as file:\n        for line in file:\n            yield line",
            complete=n == 0,
        )
        if n == 0:
            TrialAnswer.objects.filter(pk=b.pk).update(text="I am a model.", complete=True)
    Job.objects.filter(kind="generate").update(state=JobState.SUCCEEDED, finish_handled=True)
    Job.objects.filter(trial_answer__trial=t).update(
        state=JobState.RUNNING, finish_handled=False, phase="answering"
    )
    shots = [
        ("open-curated", cast.tina, f"/reviews/open/{cand.pk}/"),
        (
            "open-pool",
            cast.tina,
            f"/reviews/open/{cand.pk}/?prompt_set=Real+use,+November&votes_an_item=2&item_count=59",
        ),
        (
            "open-refused",
            cast.tina,
            f"/reviews/open/{cand.pk}/?prompt_set=Real+use,+November&votes_an_item=2&item_count=59&defects_allowed=3",
        ),
        ("policy-ada", cast.ada, "/reviews/policy/"),
        ("policy-otto", cast.otto, "/reviews/policy/"),
        ("findings", cast.otto, f"/reviews/{done.pk}/"),
        ("closed", cast.otto, f"/reviews/{stale.pk}/"),
        ("trials", cast.tina, f"/reviews/try/{cand.pk}/"),
        ("trial", cast.tina, f"/reviews/tried/{t.pk}/"),
        ("panel", cast.tina, f"/checkpoints/{cand.pk}/"),
    ]
    later = [
        ("list", cast.rob, "/reviews/"),
        ("check-rob", cast.rob, "PK"),
        ("check-leo", cast.leo, "PK"),
        ("check-ada", cast.ada, "PK"),
        ("findings-hidden", cast.rob, f"/reviews/{done.pk}/"),
        ("trials-blind", cast.rob, f"/reviews/try/{cand.pk}/"),
        ("panel-blind", cast.rob, f"/checkpoints/{cand.pk}/"),
        ("vote", cast.rob, "PKnext/"),
        ("promotions", cast.leo, "/promotions/"),
    ]

    def go(shots, pk=None):
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                for name, user, url in shots:
                    if scheme == "dark" and name not in (
                        "open-pool",
                        "findings",
                        "check-leo",
                        "trial",
                    ):
                        continue
                    page = page_for(
                        user, viewport={"width": width, "height": 900}, color_scheme=scheme
                    )
                    page.goto(url.replace("PK", f"/reviews/{pk}/"))
                    page.wait_for_timeout(900)
                    if name == "findings" or name == "check-leo":
                        page.evaluate(
                            "document.querySelectorAll('main details').forEach((d, n) => { if (n < 4) d.open = true })"
                        )
                        page.wait_for_timeout(200)
                    if width == 390:
                        wide = page.evaluate("document.documentElement.scrollWidth")
                        if wide > 390:
                            print("WIDE", name, wide)
                    page.screenshot(path=str(OUT / f"{name}-{width}-{scheme}.png"), full_page=True)
                    page.context.close()

    go(shots)
    check = check_make(cand, model.pretrained, prompts=6, votes_an_item=2, submitter=cast.tina)
    services.spot_check_assign(spot_check=check, reviewers=[cast.rob, cast.rosa], actor=cast.leo)
    for n, item in enumerate(check.items.all()[:3]):
        vote(item, cast.rob, "candidate")
        vote(item, cast.rosa, "baseline" if n else "candidate")
    services.ballot_take(spot_check=check, reviewer=cast.rosa)
    go(later, check.pk)
    print(complaints)
