"""A comparison as CSV: a line a measure, four columns a run."""

from collections.abc import Sequence

from ftportal.dashboard.comparison_cells import Cell, Group
from ftportal.pages.csvs import csv_line
from ftportal.pages.templatetags.pages import NOTHING
from ftportal.runs.models import Run

_Columns = list[str | float | None]


def comparison_csv(groups: Sequence[Group], runs: Sequence[Run]) -> str:
    """The table of a comparison with plain numbers: shares and ratios, not percent or points."""
    head = ["group", "measure", "unit"]
    for run in runs:
        head += [f"{run.name}{part}" for part in ("", ": difference", ": low", ": high")]
    lines = [csv_line(head)]
    for group in groups:
        for row in group.rows:
            line: _Columns = [group.title, row.title, row.unit]
            for cell in row.cells:
                line += _columns(cell)
            lines.append(csv_line(line))
    return "".join(lines)


def _columns(cell: Cell) -> _Columns:
    value: str | float | None = cell.value
    if value is None and cell.text != NOTHING:
        value = cell.text
    change = cell.change
    if change is None or change.value is None:
        return [value, None, None, None]
    return [value, change.value, change.low, change.high]
