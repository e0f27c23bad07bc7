"""Which side shows which answer: drawn for every reviewer and item, the same after a reload."""

from collections.abc import Sequence

from django.utils.crypto import salted_hmac

from ftportal.accounts.models import User
from ftportal.reviews.models import Generation, ReviewItem, SpotCheck


def candidate_is_left(item: ReviewItem, reviewer: User) -> bool:
    """Whether this reviewer sees the candidate's answer on the left.

    One bit of a keyed hash: like a coin to whoever lacks the server's key, yet nothing needs to be
    stored before the vote, and nothing in the page tells the sides apart.
    """
    return bool(_draw("side", item.pk, reviewer) & 1)


def start_position(spot_check: SpotCheck, reviewer: User, item_count: int) -> int:
    """Where this reviewer starts, so that two people at work at once seldom meet at one item."""
    return _draw("start", spot_check.pk, reviewer) % item_count if item_count else 0


def seen_mark(item: ReviewItem, reviewer: User, answers: Sequence[Generation]) -> str:
    """A mark of what a page shows this reviewer: other answers or other sides have another.

    Keyed, for a plain hash of the answers in the order of their sides could be tried out.
    """
    shown = [str(item.pk), str(reviewer.pk), item.prompt.sha256]
    shown += [f"{answer.pk}:{answer.text}" for answer in answers]
    return salted_hmac("ftportal.reviews.seen", "\0".join(shown), algorithm="sha256").hexdigest()


def _draw(purpose: str, pk: int, reviewer: User) -> int:
    digest = salted_hmac(
        f"ftportal.reviews.{purpose}", f"{pk}:{reviewer.pk}", algorithm="sha256"
    ).digest()
    return int.from_bytes(digest[:8], "big")
