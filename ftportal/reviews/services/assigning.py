"""Who judges a check: reviewers by name, or whoever takes it from the queue."""

from collections.abc import Collection

from django.db import transaction

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.reviews.models import UNDECIDED, Assignment, SpotCheck
from ftportal.reviews.people import may_assign
from ftportal.reviews.services.allowed import ReviewRefusedError, spot_check_lock


@transaction.atomic
def spot_check_assign(
    *, spot_check: SpotCheck, reviewers: Collection[User], actor: User
) -> SpotCheck:
    """Let these reviewers judge a check; none gives it back to the queue. ReviewRefusedError."""
    locked = spot_check_lock(spot_check)
    if not may_assign(locked, actor):
        raise ReviewRefusedError(
            "Reviewers are named by an administrator or releaser who does not judge the check.",
            "Ask one who is not a reviewer and did not start the run.",
        )
    if locked.state not in UNDECIDED:
        raise ReviewRefusedError("Nobody judges this check any more.", "Look at its findings.")
    for one in reviewers:
        _reviewer_check(locked, one)
    if reviewers and len(reviewers) < locked.votes_an_item:
        raise ReviewRefusedError(
            f"Each prompt needs {locked.votes_an_item} reviewers, and {len(reviewers)} "
            f"{'is' if len(reviewers) == 1 else 'are'} named.",
            "Name more, or none: then every reviewer may judge it.",
        )
    before = [str(one.reviewer) for one in locked.assignments.select_related("reviewer")]
    locked.assignments.all().delete()
    Assignment.objects.bulk_create(
        Assignment(spot_check=locked, reviewer=one, assigned_by=actor) for one in reviewers
    )
    after = [str(one) for one in reviewers]
    record(
        "review.assigned",
        locked,
        before={"reviewers": before},
        after={"reviewers": after},
        actor=actor,
    )
    return locked


def _reviewer_check(spot_check: SpotCheck, reviewer: User) -> None:
    if not reviewer.has_role("reviewer"):
        raise ReviewRefusedError(
            f"{reviewer} does not have the role reviewer.", "An administrator can give it."
        )
    if spot_check.submitter_id == reviewer.pk:
        raise ReviewRefusedError(
            f"{reviewer} started the run behind one of the answers.", "Name another reviewer."
        )
