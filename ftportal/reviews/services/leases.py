"""Items in somebody's hands: held while they are on a reviewer's page, and given back."""

from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.reviews.models import ItemLease, ReviewItem, SpotCheck
from ftportal.reviews.selectors import Ballot, ballot_next
from ftportal.reviews.services.allowed import spot_check_lock

HELD_FOR = timedelta(minutes=15)
"""So long an item waits for who has it on a page; a vote that comes later still counts where it is
needed."""


@transaction.atomic
def ballot_take(
    *, spot_check: SpotCheck, reviewer: User, but: Collection[int] = ()
) -> Ballot | None:
    """The next item for this reviewer, held for them; None where nothing is left for them now.

    `but` are the keys of items that they put off.

    The lock keeps two who ask at once from being given the same item.
    """
    ballot = ballot_next(spot_check_lock(spot_check), reviewer, but)
    if ballot is not None:
        item_hold(item=ballot.item, reviewer=reviewer)
    return ballot


def item_hold(*, item: ReviewItem, reviewer: User) -> None:
    """Hold an item for a reviewer, who has at most one of a check in their hands."""
    items_release(spot_check=item.spot_check, reviewer=reviewer, but=item)
    ItemLease.objects.update_or_create(
        item=item, reviewer=reviewer, defaults={"until": timezone.now() + HELD_FOR}
    )


def item_release(*, item: ReviewItem, reviewer: User) -> None:
    """Give an item back: it was judged, or its page was left."""
    ItemLease.objects.filter(item=item, reviewer=reviewer).delete()


def items_release(*, spot_check: SpotCheck, reviewer: User, but: ReviewItem | None = None) -> None:
    """Give back whatever this reviewer holds of a check, `but` the item they go on with."""
    held = ItemLease.objects.filter(item__spot_check=spot_check, reviewer=reviewer)
    if but is not None:
        held = held.exclude(item=but)
    held.delete()
