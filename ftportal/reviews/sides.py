"""Which side shows which answer: drawn for every reviewer and item, the same after a reload."""

from django.utils.crypto import salted_hmac

from ftportal.accounts.models import User
from ftportal.reviews.models import ReviewItem, SpotCheck


def candidate_is_left(item: ReviewItem, reviewer: User) -> bool:
    """Whether this reviewer sees the candidate's answer on the left.

    One bit of a keyed hash: like a coin to whoever lacks the server's key, yet nothing needs to be
    stored before the vote, and nothing in the page tells the sides apart.
    """
    return bool(_draw("side", item.pk, reviewer) & 1)


def start_position(spot_check: SpotCheck, reviewer: User, item_count: int) -> int:
    """Where this reviewer starts, so that two people at work at once seldom meet at one item."""
    return _draw("start", spot_check.pk, reviewer) % item_count if item_count else 0


def _draw(purpose: str, pk: int, reviewer: User) -> int:
    digest = salted_hmac(
        f"ftportal.reviews.{purpose}", f"{pk}:{reviewer.pk}", algorithm="sha256"
    ).digest()
    return int.from_bytes(digest[:8], "big")
