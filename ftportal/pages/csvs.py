"""Lines of CSV files, which a spreadsheet will open: the one place that writes them."""

import csv
import io
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A text that begins so would be computed. Spreadsheets in East Asia take the wide signs too."""


def csv_line(cells: Iterable[str | float | None]) -> str:
    """One line with its end. Numbers stay as they are, so -0.48 does; None is an empty cell.

    Every text stands in quotes, for spreadsheets take semicolons and tabs outside of them for the
    border of a cell, and one that starts like a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerow([_cell(one) for one in cells])
    return out.getvalue()


def _cell(value: str | float | None) -> str | float:
    if isinstance(value, int | float):
        return value
    text = "" if value is None else value
    return f"'{text}" if text.startswith(_FORMULA) else text
