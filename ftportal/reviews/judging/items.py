"""What one reviewer sees of a spot-check: its items by number, their own votes, what is left."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import QuerySet

from ftportal.accounts.models import User
from ftportal.reviews.models import SpotCheck, SpotCheckState, Vote
from ftportal.reviews.selectors import (
    Ballot,
    ballot_of,
    open_items,
    progress,
    votable_items,
)
from ftportal.reviews.sides import seen_mark


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far one reviewer is with a spot-check."""

    item_count: int
    judged_count: int
    left_count: int
    """Items that they may judge now, with those that they skipped."""
    skipped_count: int

    @property
    def total(self) -> int:
        """Items that are or were theirs to judge."""
        return self.judged_count + self.left_count


@dataclass(frozen=True, kw_only=True)
class ItemPage:
    """One item as one reviewer sees it, with their vote where they gave one."""

    ballot: Ballot
    vote: Vote | None
    before: int | None
    """Number of the item that they judged before this one."""
    after: int | None
    """Number of the item that they judged after this one."""
    why_not: str
    """Why they cannot judge it; empty where they can."""
    may_change: bool
    """Whether the vote can be changed or taken back."""
    seen: str
    """Stands in the form, so that a vote is on what was seen."""


def item_page(spot_check: SpotCheck, number: int, reviewer: User) -> ItemPage | None:
    """The item with this number, from 1; None where there is none, or no answers to look at.

    A check can be closed before both sides have answered.
    """
    item = spot_check.items.select_related("prompt").filter(position=number - 1).first()
    sides = (spot_check.candidate_answers, spot_check.baseline_answers)
    is_preparing = spot_check.state == SpotCheckState.GENERATING
    if item is None or is_preparing or not all(one.complete for one in sides):
        return None
    item.spot_check = spot_check
    ballot = ballot_of(item, reviewer)
    votes = list(my_votes(spot_check, reviewer))
    numbers = [vote.item.position + 1 for vote in votes]
    vote = next((one for one in votes if one.item_id == item.pk), None)
    place = votes.index(vote) if vote else len(votes)
    return ItemPage(
        ballot=ballot,
        vote=vote,
        before=numbers[place - 1] if place else None,
        after=numbers[place + 1] if place + 1 < len(votes) else None,
        why_not="" if vote else _why_not(spot_check, ballot, reviewer),
        may_change=vote is not None and spot_check.state == SpotCheckState.OPEN,
        seen=seen_mark(ballot.item, reviewer, (ballot.left, ballot.right)),
    )


def _why_not(spot_check: SpotCheck, ballot: Ballot, reviewer: User) -> str:
    if spot_check.is_decided:
        return "The spot-check is decided, so no vote is taken any more."
    if spot_check.is_closed:
        return "The spot-check was closed without a decision, so no vote is taken any more."
    if spot_check.state != SpotCheckState.OPEN or progress(spot_check).has_quorum:
        return "All votes are in, so no more is taken."
    if not votable_items(reviewer).filter(pk=ballot.item.pk).exists():
        return "This prompt is for other reviewers, so your vote is not needed."
    if not open_items(reviewer).filter(pk=ballot.item.pk).exists():
        return "Another reviewer has this prompt before them just now. Look again in some minutes."
    return ""


def my_votes(spot_check: SpotCheck, reviewer: User) -> QuerySet[Vote]:
    """A reviewer's votes on a spot-check, in the order in which they gave them."""
    votes = Vote.objects.filter(item__spot_check=spot_check, reviewer=reviewer)
    return votes.select_related("item__prompt").order_by("pk")


def standing(spot_check: SpotCheck, reviewer: User, skipped: Collection[int]) -> Standing:
    """How far a reviewer is; `skipped` are the keys of items that they put off."""
    left = set(open_items(reviewer).filter(spot_check=spot_check).values_list("pk", flat=True))
    return Standing(
        item_count=spot_check.items.count(),
        judged_count=my_votes(spot_check, reviewer).count(),
        left_count=len(left),
        skipped_count=len(left & set(skipped)),
    )
