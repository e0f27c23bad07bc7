"""Spot-checks, trials and policies in every state that has a page of its own."""

from types import SimpleNamespace
from typing import Any

from ftportal.accounts.models import User
from ftportal.datasets.services import prompt_set_create
from ftportal.jobs.models import Job, JobState
from ftportal.reviews.models import Generation, ReviewItem, SpotCheck, TrialAnswer
from ftportal.reviews.selectors import ballot_of
from ftportal.reviews.services import (
    item_hold,
    review_policy_set,
    spot_check_assign,
    spot_check_close,
    spot_check_decide,
    trial_ask,
    vote_cast,
    vote_change,
)
from tests.ftportal import house

POLICY: dict[str, Any] = {
    "reviewers_an_item": 1,
    "voters_may_decide": True,
    "trainers_may_promote": True,
    "names_reviewers": True,
    "defect_rate_percent": 10.0,
}
ANSWER = """<think>
The word asks for a list, so a list it is.
</think>

Three things matter:

- **Order**: the first comes first
- `count`, which is 3

```python
for number in range(3):
    print(number)
```
"""
SHORTER = "Three things matter: order, and *count*, which is 4."


def reviews_more(rooms: SimpleNamespace) -> None:
    """What `everything` has no use for in its own checks, on the model Little."""
    rooms.judging_check = _judging(rooms)
    rooms.third_check = _third(rooms, "Evening", decided=True)
    rooms.undecided_check = _third(rooms, "Night", decided=False)
    rooms.closed_check = _check(rooms, "Left alone")
    spot_check_close(spot_check=rooms.closed_check, actor=rooms.cast.ada, reason="Nobody has time.")
    rooms.pool = prompt_set_create(
        name="Pool",
        kind="pool",
        max_new_tokens=64,
        prompts=[
            {"group": "code", "messages": [{"role": "user", "content": f"Draw {number}"}]}
            for number in range(80)
        ],
    )
    for rate in (5.0, 10.0):
        review_policy_set(actor=rooms.cast.ada, **POLICY | {"defect_rate_percent": rate})
    _trials(rooms)


def _check(
    rooms: SimpleNamespace, name: str, *, model: Any = None, prompts: int = 6, votes: int = 1
) -> SpotCheck:
    """A check of a new checkpoint, with answers that hold all that is laid out."""
    anchor = (model or rooms.little).pretrained
    candidate = house.checkpoint_make(anchor.language_model, name, anchor, run_by=rooms.cast.tina)
    check = house.check_make(
        candidate, anchor, prompts=prompts, submitter=rooms.cast.tina, votes_an_item=votes
    )
    for answers, text in ((check.candidate_answers, ANSWER), (check.baseline_answers, SHORTER)):
        Generation.objects.filter(generation_set=answers).update(text=text)
    first = Generation.objects.filter(generation_set=check.candidate_answers).first()
    assert first is not None
    first.text, first.finish_reason, first.token_count = "word " * 400, "length", 64
    first.save()
    return check


def _judging(rooms: SimpleNamespace) -> SpotCheck:
    """Somebody is in the middle of it: one judged, one changed, one in another's hands."""
    check = _check(rooms, "Being judged", model=rooms.model)
    spot_check_assign(
        spot_check=check, reviewers=[rooms.walker, rooms.cast.rosa], actor=rooms.cast.ada
    )
    judged, changed, held = check.items.all()[:3]
    vote_cast(
        item=judged,
        reviewer=rooms.walker,
        preference="left",
        right_defective=True,
        right_category="fact",
        right_reason="It counts four of three",
        note="Both are short.",
        corrected_answer="Three:\n\n1. order\n2. count",
    )
    for give, preference in ((vote_cast, "tie"), (vote_change, "both_bad")):
        give(item=changed, reviewer=rooms.walker, preference=preference)
    item_hold(item=held, reviewer=rooms.cast.rosa)
    return check


def judge(item: ReviewItem, reviewer: User, preferred: str, *, defect: str = "") -> None:
    """Prefer the candidate's or the baseline's answer, and find the candidate's defective."""
    ballot = ballot_of(item, reviewer)
    candidate = item.spot_check.candidate_answers_id
    here = "left" if ballot.left.generation_set_id == candidate else "right"
    other = "right" if here == "left" else "left"
    marked: dict[str, Any] = {}
    if defect:
        marked = {f"{here}_defective": True, f"{here}_category": "topic", f"{here}_reason": defect}
    vote_cast(
        item=item,
        reviewer=reviewer,
        preference=here if preferred == "candidate" else other,
        note="" if not defect else "Read it to its end.",
        **marked,
    )


def _third(rooms: SimpleNamespace, name: str, *, decided: bool) -> SpotCheck:
    """Two reviewers disagreed on two of six prompts, and a third one judged these."""
    check = _check(rooms, name, votes=2)
    rob, rosa = rooms.cast.rob, rooms.cast.rosa
    for place, item in enumerate(check.items.all()):
        judge(item, rob, "candidate")
        judge(item, rosa, "candidate" if place > 1 else "baseline", defect="" if place else "Aside")
    for item in check.items.all()[:2]:
        judge(item, rooms.walker, "baseline" if item.position else "candidate")
    if decided:
        check.refresh_from_db()
        reason = "The third reviewer settled what two disagreed on."
        spot_check_decide(spot_check=check, decided_by=rosa, approve=True, reason=reason)
    return check


def _trials(rooms: SimpleNamespace) -> None:
    """Prompts that were tried: one waits, one was answered, one failed."""
    ask = {"checkpoint": rooms.third_check.candidate, "actor": rooms.cast.tina}
    rooms.trials = {
        name: trial_ask(prompt=f"What is **{name}**?", **ask)
        for name in ("answered", "failed", "waiting")
    }
    for answer in rooms.trials["answered"].answers.all():
        _job_set(answer, JobState.SUCCEEDED)
        TrialAnswer.objects.filter(pk=answer.pk).update(
            text=ANSWER, complete=True, finish_reason="stop", token_count=50
        )
    for answer in rooms.trials["failed"].answers.all():
        _job_set(answer, JobState.FAILED, error_message="Out of memory", error_cure="Ask for less.")


def _job_set(answer: TrialAnswer, state: str, **fields: Any) -> None:
    fields |= {"state": state, "finish_handled": True}
    Job.objects.filter(pk=answer.job_id).update(**fields)
