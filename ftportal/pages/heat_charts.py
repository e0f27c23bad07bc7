"""A heat map: numbered columns by named rows, the deeper the colour the larger the value."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.pages.charts import Chart, text_of
from ftportal.pages.figures import ACCENT, INK_SOFT, PAPER, figure_item, figure_make, figure_scale

PALEST = 0.08
"""Opacity of a value of 0; 1 is the largest value's."""
_ROW_PIXELS = 26


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """One place of a heat map."""

    column: int
    row: str
    value: float | None
    """0 or more; None is drawn as a cross."""
    tip: Sequence[str]
    """Lines shown on hover, the first as their title."""


def heat_chart(
    *,
    title: str,
    x_label: str,
    unit: str,
    cells: Sequence[HeatCell],
    row_names: Sequence[str],
    table_columns: Sequence[str],
    table_rows: Sequence[Sequence[str]],
    caption: str = "",
) -> Chart:
    """Draw cells from pale (0) to full (the largest value); `row_names` from top to bottom.

    `unit` follows the numbers of the scale. The table is the caller's: it may hold more.
    """
    from bokeh.models import ColumnDataSource

    plot = figure_make(
        x_label=x_label,
        y_label="",
        height=64 + _ROW_PIXELS * len(row_names),
        y_range=list(reversed(row_names)),
    )
    columns = [cell.column for cell in cells]
    figure_scale(plot, x_range=(min(columns) - 0.5, max(columns) + 0.5), from_zero=False)
    plot.ygrid.grid_line_color = None
    largest = max((cell.value for cell in cells if cell.value is not None), default=0.0)
    known = [cell for cell in cells if cell.value is not None]
    missing = [cell for cell in cells if cell.value is None]
    for some, draw in ((known, _draw_known), (missing, _draw_missing)):
        if some:
            source = ColumnDataSource(
                data={
                    "x": [cell.column for cell in some],
                    "y": [cell.row for cell in some],
                    "opacity": [_opacity(cell.value, largest) for cell in some],
                    "tip": ["\n".join(cell.tip) for cell in some],
                }
            )
            draw(plot, source)
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=table_columns,
        rows=table_rows,
        hover="cell",
        scale=("0", f"{text_of(largest)} {unit}".strip()),
        caption=caption,
    )


def _opacity(value: float | None, largest: float) -> float:
    return PALEST + (1 - PALEST) * (value or 0.0) / largest if largest else PALEST


def _draw_known(plot: object, source: object) -> None:
    plot.rect(  # type: ignore[attr-defined]
        "x",
        "y",
        width=1,
        height=1,
        source=source,
        fill_color=ACCENT,
        fill_alpha="opacity",
        line_color=PAPER,
        line_width=1,
    )


def _draw_missing(plot: object, source: object) -> None:
    style = {"marker": "x", "size": 6, "line_color": INK_SOFT, "alpha": 0.6}
    plot.scatter("x", "y", source=source, **style)  # type: ignore[attr-defined]
