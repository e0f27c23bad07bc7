"""How much work a call is, counted and not timed: the same on a busy machine."""

import sys
from collections.abc import Callable
from typing import Any


def calls_in(action: Callable[[], Any]) -> int:
    """Return how many functions, Python's and C's, an action enters and leaves."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def grows_evenly(action: Callable[[str], Any], text: str) -> bool:
    """Whether an action is at most about twice the work for a text as for its first half."""
    half = text[: len(text) // 2]
    action(half)  # what is made once, such as a lexer, is not of either
    return calls_in(lambda: action(text)) < 2.3 * calls_in(lambda: action(half)) + 500
