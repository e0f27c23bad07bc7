"""Charts: Bokeh figures as JSON items, each with its legend and the table behind it.

Colours are named by their role in the stylesheet ("--accent"); charts.js puts the values in, so
one chart serves light and dark. Legend, hover and table are plain HTML, for Bokeh paints its own
onto the canvas, where no keyboard and no screen reader finds them. Bokeh is imported when the
first chart is made: the web process starts without it.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftportal.pages.figures import (
    INK_SOFT,
    LIMIT_DASHES,
    SERIES_COLOURS,
    SERIES_COUNT,
    SERIES_DASHES,
    figure_item,
    figure_make,
    figure_mark,
    figure_scale,
)

TABLE_ROWS_MAX = 200
"""More steps than this are thinned out in the table; the chart itself shows every point given."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: `x` and `y` of equal length, optionally with a band or with unsmoothed points."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    lower: Sequence[float | None] | None = None
    """Lower edge of a band, with `upper`; the band has a gap where one is missing."""
    upper: Sequence[float | None] | None = None
    raw: Sequence[float | None] | None = None
    """What was measured, where `y` is a mean over it: drawn as faint points."""
    has_points: bool = True
    """Whether single values are marked beside the line through them."""
    is_limit: bool = False
    """What the other lines should not cross: drawn dashed in steps, without points."""

    def columns(self) -> dict[str, list[float]]:
        """The series as columns of a Bokeh data source; NaN stands for missing."""
        data = {"x": list(self.x), "y": [_number(value) for value in self.y]}
        if self.lower is not None and self.upper is not None:
            edges = {"lower": self.lower, "upper": self.upper}
            data |= {name: [_number(value) for value in edge] for name, edge in edges.items()}
        if self.raw is not None:
            data["raw"] = [_number(value) for value in self.raw]
        return data

    def update(self) -> dict[str, list[float | None]]:
        """The same columns as JSON takes them, with null for missing."""
        return {
            name: [None if math.isnan(value) else value for value in column]
            for name, column in self.columns().items()
        }


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """One line of a legend; `number` picks the colour in the stylesheet, 0 that of a limit."""

    name: str
    number: int
    dashes: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawn chart, its legend and the table behind it."""

    title: str
    item: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    hover: str
    """"x": everything at the pointer's x; "point": the point nearest to the pointer; "cell": the
    cell of a heat map that it is in."""
    legend: Sequence[LegendEntry] = ()
    scale: tuple[str, str] | None = None
    """What the palest and the fullest colour stand for, where colour is a number."""
    rows_left_out: int = 0
    caption: str = ""
    update_url: str = ""
    zoom_group: str = ""
    """Charts of one group show the same stretch of their x axes."""
    element_id: str = field(default_factory=lambda: f"chart-{uuid.uuid4().hex[:12]}")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def text_of(value: float | None) -> str:
    """A number as tables and hover texts of charts write it."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def line_chart(
    *,
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    y_log: bool = False,
    y_from_zero: bool = False,
    caption: str = "",
    update_url: str = "",
    x_range: tuple[float, float] | None = None,
    marks: Mapping[str, float] | None = None,
    y_format: str = "",
    zoom_group: str = "",
) -> Chart:
    """Lines over a shared x axis; hovering shows all of them at one x. Missing values are gaps.

    `update_url` gives {"live": bool, "series": {name: Series.update()}}; charts.js asks it every
    two seconds and patches the lines in place while `live` holds. `x_range` fixes the x axis, as
    a run's planned steps do. `marks` are dashed horizontal lines, label -> height. `y_format` is
    a printf format for the y axis, such as "%.0e". Charts of one `zoom_group`, which need an
    `x_range`, are zoomed together by dragging over one of them.
    """
    from bokeh.models import BoxZoomTool, ColumnDataSource, PrintfTickFormatter

    axis = "log" if y_log else "linear"
    plot = figure_make(x_label=x_label, y_label=y_label, y_axis_type=axis)
    figure_scale(plot, x_range=x_range, from_zero=y_from_zero and not y_log)
    if zoom_group:
        plot.add_tools(BoxZoomTool(dimensions="width"))
    if y_format:
        plot.yaxis.formatter = PrintfTickFormatter(format=y_format)
    sources = [ColumnDataSource(data=one.columns(), name=one.name) for one in series]
    for draw in (_draw_points, _draw_line):  # no line lies hidden below another one's points
        for index, (one, source) in enumerate(zip(series, sources, strict=True)):
            draw(plot, one, source, SERIES_COLOURS[index % SERIES_COUNT], index)
    if not any(len(one.x) for one in series):
        # Bokeh cannot place axes around nothing; charts.js empties this when values come.
        nothing_yet = ColumnDataSource(data={"x": [0, 0], "y": [0, 1]}, tags=["nothing-yet"])
        plot.scatter("x", "y", source=nothing_yet, alpha=0)
    for label, height in (marks or {}).items():
        figure_mark(plot, label, height)
    rows = _line_rows(series)
    every = -(-len(rows) // TABLE_ROWS_MAX) or 1
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=[x_label, *(one.name for one in series)],
        rows=rows[::every],
        rows_left_out=len(rows) - len(rows[::every]),
        hover="x",
        legend=_legend(series) if len(series) > 1 else (),
        caption=caption,
        update_url=update_url,
        zoom_group=zoom_group,
    )


def _legend(series: Sequence[Series]) -> list[LegendEntry]:
    return [
        LegendEntry(
            name=one.name,
            number=0 if one.is_limit else index % SERIES_COUNT + 1,
            dashes=" ".join(map(str, LIMIT_DASHES if one.is_limit else _dashes(index))),
        )
        for index, one in enumerate(series)
    ]


def _dashes(index: int) -> list[int]:
    return SERIES_DASHES[index % SERIES_COUNT]


def _draw_points(plot: Any, series: Series, source: Any, colour: str, index: int) -> None:
    if not series.has_points or series.is_limit:
        return
    points, alpha = ("y", 1.0) if series.raw is None else ("raw", 0.35)
    style = {"size": 5, "line_color": None, "fill_color": colour, "alpha": alpha}
    plot.scatter("x", points, source=source, **style)


def _draw_line(plot: Any, series: Series, source: Any, colour: str, index: int) -> None:
    if series.is_limit:
        style = {"line_color": INK_SOFT, "line_dash": LIMIT_DASHES, "line_width": 1.5}
        plot.step("x", "y", source=source, mode="center", **style)
        return
    if series.lower is not None and series.upper is not None:
        plot.varea("x", "lower", "upper", source=source, fill_alpha=0.15, fill_color=colour)
    dashes = _dashes(index)
    plot.line("x", "y", source=source, line_width=2, line_color=colour, line_dash=dashes)


def _line_rows(series: Sequence[Series]) -> list[list[str]]:
    values = [dict(zip(one.x, one.y, strict=True)) for one in series]
    steps = sorted({x for one in series for x in one.x})
    return [[text_of(x), *(text_of(of.get(x)) for of in values)] for x in steps]
