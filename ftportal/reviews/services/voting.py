"""Votes: given, and taken back."""

from django.db import transaction

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.reviews.models import Preference, ReviewItem, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.selectors import progress, votable_items, vote_to_undo
from ftportal.reviews.services.allowed import ReviewRefusedError, reviewer_check, spot_check_lock
from ftportal.reviews.services.leases import item_release
from ftportal.reviews.services.quorum import item_settle
from ftportal.reviews.sides import candidate_is_left


@transaction.atomic
def vote_cast(
    *,
    item: ReviewItem,
    reviewer: User,
    preference: str,
    left_defective: bool,
    left_reason: str,
    right_defective: bool,
    right_reason: str,
) -> Vote:
    """Record one reviewer's judgement of one item, sides as that reviewer saw them.

    An item takes the votes that it lacks and no more, however many come at once; where two
    disagree, it lacks exactly one more. Raises ReviewRefusedError.
    """
    spot_check = spot_check_lock(item.spot_check)
    reviewer_check(spot_check, reviewer)
    if spot_check.state != SpotCheckState.OPEN:
        raise ReviewRefusedError("This spot-check is not open for votes.", "Go back to the queue.")
    if Vote.objects.filter(item=item, reviewer=reviewer).exists():
        raise ReviewRefusedError("You have judged this prompt before.", "Go on with the next one.")
    if progress(spot_check).has_quorum:
        raise ReviewRefusedError(
            "All votes are in and names may be seen, so no vote is taken any more.",
            "Look at the findings.",
        )
    if not votable_items(reviewer).filter(pk=item.pk).exists():
        raise ReviewRefusedError(_why_not_votable(item), "Go on with the next one.")
    if preference not in Preference.values:
        raise ReviewRefusedError(
            "No preference was chosen.", "Choose left, right, tie or both bad."
        )
    reasons = {"left": left_reason.strip(), "right": right_reason.strip()}
    for side, defective in (("left", left_defective), ("right", right_defective)):
        if defective and not reasons[side]:
            raise ReviewRefusedError(
                f"The {side} answer is marked as defective without a reason.",
                "Say in a few words what is wrong with it.",
            )
    vote = Vote.objects.create(
        item=item,
        reviewer=reviewer,
        candidate_is_left=candidate_is_left(item, reviewer),
        preference=preference,
        left_defective=left_defective,
        left_reason=reasons["left"] if left_defective else "",
        right_defective=right_defective,
        right_reason=reasons["right"] if right_defective else "",
    )
    item_settle(item)
    item_release(item=item, reviewer=reviewer)
    record("review.voted", spot_check, after={"prompt": item.position + 1}, actor=reviewer)
    return vote


@transaction.atomic
def vote_undo(*, spot_check: SpotCheck, reviewer: User) -> ReviewItem:
    """Take back this reviewer's last vote, so that its item comes again. Raises ReviewRefusedError.

    Impossible once every item has its votes: from then on names may have been seen.
    """
    locked = spot_check_lock(spot_check)
    reviewer_check(locked, reviewer)
    vote = vote_to_undo(locked, reviewer)
    if vote is None:
        raise ReviewRefusedError("There is no vote of yours that can still be taken back.")
    item = vote.item
    before = {"prompt": item.position + 1, "preference": vote.preference}
    record("review.vote_taken_back", locked, before=before, actor=reviewer)
    vote.delete()
    item_settle(item)
    return item


def _why_not_votable(item: ReviewItem) -> str:
    needed = ReviewItem.objects.get(pk=item.pk).votes_needed
    if item.votes.count() >= needed:
        return "This prompt got its votes meanwhile, so yours was not needed."
    return "This check was given to other reviewers by name."
