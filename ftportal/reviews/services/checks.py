"""Changes to spot-checks: open them, change their plan, decide."""

from random import SystemRandom
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import difference, record
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import PromptSet
from ftportal.reviews.findings import counted_defects
from ftportal.reviews.generation import generation_set_request, settings_draw
from ftportal.reviews.models import (
    UNDECIDED,
    DefectRule,
    ReviewItem,
    SpotCheck,
    SpotCheckState,
    Vote,
)
from ftportal.reviews.plan import defects_words
from ftportal.reviews.selectors import progress
from ftportal.reviews.services.allowed import (
    ReviewRefusedError,
    decider_check,
    reviewer_check,
    spot_check_lock,
)
from ftportal.reviews.services.plans import Plan, plan_fix

_draw = SystemRandom()


def spot_check_open(
    *,
    candidate: Checkpoint,
    baseline: Checkpoint,
    prompt_set: PromptSet,
    submitter: User | None,
    votes_an_item: int | None = None,
    item_count: int | None = None,
    defects_allowed: int | None = None,
) -> SpotCheck:
    """Fix the plan of a spot-check and ask both sides for their answers; voting opens with them.

    `submitter` is who started the candidate's run and never counts as a reviewer of it. What is
    None follows from the policy in force. While the same candidate, baseline and prompts have a
    check that nobody has decided, that one is returned as it is. Raises ReviewRefusedError.
    """
    pair = {"candidate": candidate, "baseline": baseline, "prompt_set": prompt_set}
    known = SpotCheck.objects.filter(**pair, state__in=UNDECIDED).first()
    if known is not None:
        return known
    _pair_check(candidate, baseline)
    plan = plan_fix(
        prompt_set,
        votes_an_item=votes_an_item,
        item_count=item_count,
        defects_allowed=defects_allowed,
    )
    try:
        return _open(pair, plan, submitter)
    except IntegrityError:
        return SpotCheck.objects.get(**pair, state__in=UNDECIDED)


@transaction.atomic
def _open(pair: dict[str, Any], plan: Plan, submitter: User | None) -> SpotCheck:
    """Make the check, its items and the two jobs together, so that neither is without the other."""
    settings = settings_draw()
    answers = {
        f"{side}_answers": generation_set_request(
            checkpoint=pair[side], prompt_set=plan.prompt_set, settings=settings
        )
        for side in ("candidate", "baseline")
    }
    spot_check = SpotCheck.objects.create(
        **pair,
        **answers,
        submitter=submitter,
        votes_an_item=plan.votes_an_item,
        voters_may_decide=plan.voters_may_decide,
        defects_allowed=plan.defects_allowed,
        defect_rule=DefectRule.ALL if plan.prompt_set.is_pool else DefectRule.NEW,
    )
    prompts = list(plan.prompt_set.prompts.all())
    if plan.item_count < len(prompts):
        prompts = _draw.sample(prompts, plan.item_count)
    ReviewItem.objects.bulk_create(
        ReviewItem(
            spot_check=spot_check,
            prompt=prompt,
            position=position,
            votes_needed=plan.votes_an_item,
        )
        for position, prompt in enumerate(prompts)
    )
    record("review.opened", spot_check, after=plan.words)
    return spot_check


def _pair_check(candidate: Checkpoint, baseline: Checkpoint) -> None:
    if candidate.pk == baseline.pk:
        raise ReviewRefusedError(
            f"{candidate} cannot be compared with itself.", "Choose another checkpoint."
        )
    if candidate.language_model_id != baseline.language_model_id:
        raise ReviewRefusedError(
            f"{candidate} and {baseline} belong to different models.",
            "Choose two checkpoints of one model.",
        )
    for checkpoint in (candidate, baseline):
        if checkpoint.deleted_at is not None:
            raise ReviewRefusedError(
                f"The files of {checkpoint} were deleted: it can answer nothing."
            )


def spot_checks_start() -> int:
    """Open the voting of every spot-check whose two sides have answered; how many. Idempotent."""
    return SpotCheck.objects.filter(
        state=SpotCheckState.GENERATING,
        candidate_answers__complete=True,
        baseline_answers__complete=True,
    ).update(state=SpotCheckState.OPEN, opened_at=timezone.now())


@transaction.atomic
def spot_check_plan_change(
    *,
    spot_check: SpotCheck,
    actor: User,
    votes_an_item: int,
    defects_allowed: int | None = None,
) -> SpotCheck:
    """Ask for another number of votes an item or of defects, before the first vote.

    The run's submitter may not: it would let them choose how closely their run is looked at.
    Raises ReviewRefusedError.
    """
    locked = spot_check_lock(spot_check)
    reviewer_check(locked, actor)
    if locked.state not in UNDECIDED or Vote.objects.filter(item__spot_check=locked).exists():
        raise ReviewRefusedError(
            "The plan was fixed with the first vote.", "Open another spot-check for another plan."
        )
    plan = plan_fix(
        locked.prompt_set,
        votes_an_item=votes_an_item,
        item_count=locked.items.count(),
        defects_allowed=locked.defects_allowed if defects_allowed is None else defects_allowed,
    )
    before, after = difference(
        {"votes": locked.votes_an_item, "defects": locked.defects_allowed},
        {"votes": plan.votes_an_item, "defects": plan.defects_allowed},
    )
    locked.votes_an_item = plan.votes_an_item
    locked.defects_allowed = plan.defects_allowed
    locked.save(update_fields=["votes_an_item", "defects_allowed"])
    locked.items.update(votes_needed=plan.votes_an_item)
    record("review.planned", locked, before=before, after=after, actor=actor)
    return locked


@transaction.atomic
def spot_check_decide(
    *, spot_check: SpotCheck, decided_by: User, approve: bool, reason: str
) -> SpotCheck:
    """Approve or reject a spot-check whose votes are all in. Raises ReviewRefusedError.

    Approval with more defects than the plan allows is refused, whoever asks.
    """
    locked = spot_check_lock(spot_check)
    decider_check(locked, decided_by)
    if locked.is_closed:
        raise ReviewRefusedError(f"It was closed. {locked.closed_reason}")
    if locked.is_decided:
        raise ReviewRefusedError(
            f"{locked.decided_by} has decided already: {locked.get_state_display().lower()}."
        )
    state = progress(locked)
    if locked.state != SpotCheckState.OPEN or not state.has_quorum:
        raise ReviewRefusedError(
            f"{state.lacking_count} of {state.item_count} prompts still lack votes.",
            "Decide when all are judged.",
        )
    if not reason.strip():
        raise ReviewRefusedError(
            "A decision needs a reason.", "Say in a sentence what it rests on."
        )
    if approve:
        _defects_check(locked)
    locked.state = SpotCheckState.APPROVED if approve else SpotCheckState.REJECTED
    locked.decided_by = decided_by
    locked.decided_at = timezone.now()
    locked.decision_reason = reason.strip()
    locked.save()
    record(
        "review.decided",
        locked,
        after={"state": str(locked.state), "compared": locked.named_title},
        reason=locked.decision_reason,
        actor=decided_by,
    )
    return locked


def _defects_check(spot_check: SpotCheck) -> None:
    defects = counted_defects(spot_check)
    if defects > spot_check.defects_allowed:
        raise ReviewRefusedError(
            f"The candidate has {defects_words(defects)} to count, and the plan, fixed before the "
            f"first vote, allows {spot_check.defects_allowed}.",
            "Reject it, and train again.",
        )
