"""Who may change a spot-check, and the refusal that all its services raise."""

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.selectors import has_voted, may_decide


class ReviewRefusedError(ProblemError):
    """A vote, plan or decision is not possible."""


def reviewer_check(spot_check: SpotCheck, user: User) -> None:
    """Raise ReviewRefusedError unless this person is a reviewer and not the run's submitter."""
    _role_check(user)
    if spot_check.submitter_id == user.pk:
        raise ReviewRefusedError(
            "You started the run behind one of these answers, so your judgement does not count.",
            "Ask another reviewer.",
        )


def opener_check(checkpoint: Checkpoint, user: User) -> None:
    """Raise ReviewRefusedError where opening a check would tell what is kept from this person.

    For every checkpoint of the model alike: a check that is there already would be given away.
    """
    if blindness_of(user).hides_answers(checkpoint.language_model_id):
        raise ReviewRefusedError(
            f"A spot-check of {checkpoint.language_model} waits for votes that may be yours, and "
            "opening another one would tell you which checkpoints are in review.",
            "Open it when the votes are in, or ask somebody who does not judge.",
        )


def decider_check(spot_check: SpotCheck, user: User) -> None:
    """Raise ReviewRefusedError unless this person may approve or reject it."""
    if spot_check.voters_may_decide or user.has_role("reviewer"):
        reviewer_check(spot_check, user)
    if not may_decide(spot_check, user):
        raise ReviewRefusedError(
            "By the policy that this check was opened under, who has judged it does not decide."
            if has_voted(spot_check, user)
            else "Deciding this check needs the role reviewer or releaser.",
            "Ask a reviewer who has not judged it, or a releaser.",
        )


def _role_check(user: User) -> None:
    if not user.has_role("reviewer"):
        raise ReviewRefusedError("This needs the role reviewer.", "An administrator can give it.")


def spot_check_lock(spot_check: SpotCheck) -> SpotCheck:
    """The spot-check as it is now, locked until the transaction ends."""
    return (
        SpotCheck.objects.select_for_update(of=("self",))
        .select_related("prompt_set")
        .get(pk=spot_check.pk)
    )
