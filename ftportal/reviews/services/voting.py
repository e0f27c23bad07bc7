"""Votes: given, changed, and taken back."""

from typing import Unpack

from django.db import transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.reviews.models import ReviewItem, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.selectors import progress, votable_items, vote_to_undo
from ftportal.reviews.services.allowed import ReviewRefusedError, reviewer_check, spot_check_lock
from ftportal.reviews.services.judgements import Judgement, fields_of, said
from ftportal.reviews.services.leases import item_release
from ftportal.reviews.services.quorum import item_settle
from ftportal.reviews.sides import candidate_is_left


class JudgedBeforeError(ReviewRefusedError):
    """The reviewer has judged this item before, and otherwise."""


@transaction.atomic
def vote_cast(*, item: ReviewItem, reviewer: User, **judgement: Unpack[Judgement]) -> Vote:
    """Record one reviewer's judgement of one item.

    The same judgement again, from a form that was sent twice, changes nothing. An item takes the
    votes that it lacks and no more, however many come at once; where two disagree, it lacks exactly
    one more. Raises ReviewRefusedError, JudgedBeforeError where the item has another vote of this
    reviewer's.
    """
    spot_check = spot_check_lock(item.spot_check)
    reviewer_check(spot_check, reviewer)
    fields = fields_of(judgement)
    before = Vote.objects.filter(item=item, reviewer=reviewer).first()
    if before is not None and said(before) == fields:
        return before
    _open_check(spot_check)
    if before is not None:
        raise JudgedBeforeError(
            "You have judged this prompt before, and that vote stands: nothing was changed.",
            "To change it, choose so on its page.",
        )
    if progress(spot_check).has_quorum:
        raise ReviewRefusedError(
            "All votes are in and names may be seen, so no vote is taken any more.",
            "Look at the findings.",
        )
    if not votable_items(reviewer).filter(pk=item.pk).exists():
        raise ReviewRefusedError(_why_not_votable(item), "Go on with the next one.")
    vote = Vote.objects.create(
        item=item,
        reviewer=reviewer,
        candidate_is_left=candidate_is_left(item, reviewer),
        names_were_visible=spot_check.votes_complete_at is not None,
        **fields,
    )
    item_settle(item)
    item_release(item=item, reviewer=reviewer)
    _completion_note(spot_check)
    record("review.voted", spot_check, after={"prompt": item.position + 1}, actor=reviewer)
    return vote


@transaction.atomic
def vote_change(*, item: ReviewItem, reviewer: User, **judgement: Unpack[Judgement]) -> Vote:
    """Replace what a reviewer said of an item, until the spot-check is decided.

    Where all votes were in before, the vote tells that the names could be seen. Raises
    ReviewRefusedError.
    """
    spot_check = spot_check_lock(item.spot_check)
    reviewer_check(spot_check, reviewer)
    fields = fields_of(judgement)
    _open_check(spot_check)
    vote = Vote.objects.filter(item=item, reviewer=reviewer).first()
    if vote is None:
        raise ReviewRefusedError(
            "Your vote on this prompt was taken back meanwhile.", "Judge it anew."
        )
    before = said(vote)
    if fields == before:
        return vote
    for name, value in fields.items():
        setattr(vote, name, value)
    vote.changed_at = timezone.now()
    vote.names_were_visible |= spot_check.votes_complete_at is not None
    vote.save()
    item_settle(item)
    _completion_note(spot_check)
    record(
        "review.vote_changed",
        spot_check,
        before={"prompt": item.position + 1, "preference": before["preference"]},
        after={"prompt": item.position + 1, "preference": vote.preference},
        actor=reviewer,
    )
    return vote


@transaction.atomic
def vote_undo(
    *, spot_check: SpotCheck, reviewer: User, item: ReviewItem | None = None
) -> ReviewItem:
    """Take back this reviewer's vote on an item, or the last one, so that the item comes again.

    Possible until the spot-check is decided. Raises ReviewRefusedError.
    """
    locked = spot_check_lock(spot_check)
    reviewer_check(locked, reviewer)
    _open_check(locked)
    vote = vote_to_undo(locked, reviewer, item)
    if vote is None:
        raise ReviewRefusedError("There is no vote of yours that can be taken back.")
    item = vote.item
    before = {"prompt": item.position + 1, "preference": vote.preference}
    record("review.vote_taken_back", locked, before=before, actor=reviewer)
    vote.delete()
    item_settle(item)
    _completion_note(locked)
    return item


def _completion_note(spot_check: SpotCheck) -> None:
    """Keep when all votes were in for the first time: from then on names may have been seen."""
    if spot_check.votes_complete_at is None and progress(spot_check).has_quorum:
        spot_check.votes_complete_at = timezone.now()
        spot_check.save(update_fields=["votes_complete_at"])


def _open_check(spot_check: SpotCheck) -> None:
    if spot_check.is_decided:
        raise ReviewRefusedError(
            f"{spot_check.decided_by} has decided this spot-check meanwhile: "
            f"{spot_check.get_state_display().lower()}. Its votes stand as they are.",
            "Look at the findings.",
        )
    if spot_check.state != SpotCheckState.OPEN:
        raise ReviewRefusedError("This spot-check is not open for votes.", "Go back to the queue.")


def _why_not_votable(item: ReviewItem) -> str:
    needed = ReviewItem.objects.get(pk=item.pk).votes_needed
    if item.votes.count() >= needed:
        return "This prompt got its votes meanwhile, so yours was not needed."
    return "This check was given to other reviewers by name."
