"""Changes to spot-checks: open them, change their plan, decide."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import PromptSet
from ftportal.reviews.findings import counted_defects
from ftportal.reviews.generation import generation_set_request
from ftportal.reviews.models import DefectRule, ReviewItem, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.plan import defects_allowed
from ftportal.reviews.selectors import progress
from ftportal.reviews.services.allowed import ReviewRefusedError, reviewer_check, spot_check_lock

MOST_VOTES_AN_ITEM = 9


def spot_check_open(
    *,
    candidate: Checkpoint,
    baseline: Checkpoint,
    prompt_set: PromptSet,
    submitter: User | None,
    votes_an_item: int = 1,
) -> SpotCheck:
    """Fix the plan of a spot-check and ask both sides for their answers; voting opens with them.

    `submitter` is who started the candidate's run and never counts as a reviewer of it. The same
    candidate, baseline and prompts are one spot-check: the one that is there is returned as it is.
    Raises ReviewRefusedError.
    """
    pair = {"candidate": candidate, "baseline": baseline, "prompt_set": prompt_set}
    known = SpotCheck.objects.filter(**pair).first()
    if known is not None:
        return known
    prompts = list(prompt_set.prompts.all())
    _pair_check(candidate, baseline, has_prompts=bool(prompts))
    _votes_check(votes_an_item)
    answers = {
        f"{side}_answers": generation_set_request(
            checkpoint=checkpoint, prompt_set=prompt_set, created_by=submitter
        )
        for side, checkpoint in (("candidate", candidate), ("baseline", baseline))
    }
    is_random = prompt_set.is_random_sample
    try:
        with transaction.atomic():
            spot_check = SpotCheck.objects.create(
                **pair,
                **answers,
                submitter=submitter,
                votes_an_item=votes_an_item,
                defects_allowed=defects_allowed(
                    item_count=len(prompts), is_random_sample=is_random
                ),
                defect_rule=DefectRule.ALL if is_random else DefectRule.NEW,
            )
            ReviewItem.objects.bulk_create(
                ReviewItem(spot_check=spot_check, prompt=prompt, position=position)
                for position, prompt in enumerate(prompts)
            )
            record("review.opened", spot_check, after={"votes": votes_an_item})
    except IntegrityError:
        return SpotCheck.objects.get(**pair)
    spot_checks_start()
    spot_check.refresh_from_db()
    return spot_check


def _pair_check(candidate: Checkpoint, baseline: Checkpoint, *, has_prompts: bool) -> None:
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
    if not has_prompts:
        raise ReviewRefusedError("The prompt set has no prompts.", "Choose one that has.")


def _votes_check(votes_an_item: int) -> None:
    if not 1 <= votes_an_item <= MOST_VOTES_AN_ITEM:
        raise ReviewRefusedError(
            f"{votes_an_item} votes for each prompt are not possible.",
            f"Choose from 1 to {MOST_VOTES_AN_ITEM}.",
        )


def spot_checks_start() -> int:
    """Open the voting of every spot-check whose two sides have answered; how many. Idempotent."""
    return SpotCheck.objects.filter(
        state=SpotCheckState.GENERATING,
        candidate_answers__complete=True,
        baseline_answers__complete=True,
    ).update(state=SpotCheckState.OPEN, opened_at=timezone.now())


@transaction.atomic
def spot_check_plan_change(*, spot_check: SpotCheck, actor: User, votes_an_item: int) -> SpotCheck:
    """Ask for another number of votes an item, before the first vote. ReviewRefusedError.

    The run's submitter may not: it would let them choose how closely their run is looked at.
    """
    locked = spot_check_lock(spot_check)
    reviewer_check(locked, actor)
    _votes_check(votes_an_item)
    if locked.is_decided or Vote.objects.filter(item__spot_check=locked).exists():
        raise ReviewRefusedError(
            "The plan was fixed with the first vote.", "Open another spot-check for another plan."
        )
    before = {"votes": locked.votes_an_item}
    locked.votes_an_item = votes_an_item
    locked.save(update_fields=["votes_an_item"])
    record("review.planned", locked, before=before, after={"votes": votes_an_item}, actor=actor)
    return locked


@transaction.atomic
def spot_check_decide(
    *, spot_check: SpotCheck, decided_by: User, approve: bool, reason: str
) -> SpotCheck:
    """Approve or reject a spot-check whose votes are all in. Raises ReviewRefusedError.

    Approval with more defects than the plan allows is refused, whoever asks.
    """
    locked = spot_check_lock(spot_check)
    reviewer_check(locked, decided_by)
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
        after={"state": str(locked.state)},
        reason=locked.decision_reason,
        actor=decided_by,
    )
    return locked


def _defects_check(spot_check: SpotCheck) -> None:
    defects = counted_defects(spot_check)
    if defects > spot_check.defects_allowed:
        raise ReviewRefusedError(
            f"The candidate has {defects} defects that count, and the plan, fixed before the first "
            f"vote, allows {spot_check.defects_allowed}.",
            "Reject it, and train again.",
        )
