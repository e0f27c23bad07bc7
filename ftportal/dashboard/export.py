"""A comparison as CSV: a line a measure, four columns a run."""

import csv
import io
from collections.abc import Sequence

from ftportal.dashboard.comparison_cells import Cell, Group
from ftportal.pages.csvs import cell_safe
from ftportal.pages.templatetags.pages import NOTHING
from ftportal.runs.models import Run


def comparison_csv(groups: Sequence[Group], runs: Sequence[Run]) -> str:
    """The table of a comparison with plain numbers: shares and ratios, not percent or points."""
    out = io.StringIO()
    writer = csv.writer(out)
    head = ["group", "measure", "unit"]
    for run in runs:
        head += [cell_safe(f"{run.name}{part}") for part in ("", ": difference", ": low", ": high")]
    writer.writerow(head)
    for group in groups:
        for row in group.rows:
            line = [group.title, cell_safe(row.title), row.unit]
            for cell in row.cells:
                line += _columns(cell)
            writer.writerow(line)
    return out.getvalue()


def _columns(cell: Cell) -> list[str]:
    change = cell.change
    value = repr(cell.value)
    if cell.value is None:
        value = "" if cell.text == NOTHING else cell_safe(cell.text)
    if change is None or change.value is None:
        return [value, "", "", ""]
    return [value, *("" if x is None else repr(x) for x in (change.value, change.low, change.high))]
