"""Who may change a spot-check, and the refusal that all its services raise."""

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.reviews.models import SpotCheck


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
