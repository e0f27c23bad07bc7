"""What the table of a comparison consists of."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.evaluations.selectors import Change
from ftportal.pages.templatetags.pages import NOTHING


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A state, what it is about, and the page that explains it."""

    state: str
    word: str = ""
    note: str = ""
    url_name: str = ""
    key: int = 0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one run has in one row. `value` and `change` are the numbers behind the words."""

    text: str = NOTHING
    note: str = ""
    details: Sequence[str] = ()
    tone: str = ""
    badges: Sequence[Badge] = ()
    value: float | None = None
    change: Change | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure or setting across the runs."""

    title: str
    cells: Sequence[Cell]
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that belong together, under a heading and a sentence."""

    title: str
    note: str
    rows: Sequence[Row]
