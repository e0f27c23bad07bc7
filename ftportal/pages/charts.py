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
    ACCENT,
    INK,
    INK_SOFT,
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
    lower: Sequence[float] | None = None
    """Lower edge of a band, with `upper`."""
    upper: Sequence[float] | None = None
    raw: Sequence[float | None] | None = None
    """What was measured, where `y` is a mean over it: drawn as faint points."""
    has_points: bool = True
    """Whether single values are marked beside the line through them."""

    def columns(self) -> dict[str, list[float]]:
        """The series as columns of a Bokeh data source; NaN stands for missing."""
        data = {"x": list(self.x), "y": [_number(value) for value in self.y]}
        if self.lower is not None and self.upper is not None:
            data |= {"lower": list(self.lower), "upper": list(self.upper)}
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
    """One line of a legend; `number` picks colour and dash pattern in stylesheet and drawing."""

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
    """"x": everything at the pointer's x; "point": the point nearest to the pointer."""
    legend: Sequence[LegendEntry] = ()
    rows_left_out: int = 0
    caption: str = ""
    update_url: str = ""
    element_id: str = field(default_factory=lambda: f"chart-{uuid.uuid4().hex[:12]}")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _text(value: float | None) -> str:
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
) -> Chart:
    """Lines over a shared x axis; hovering shows all of them at one x. Missing values are gaps.

    `update_url` gives {"live": bool, "series": {name: Series.update()}}; charts.js asks it every
    two seconds and patches the lines in place while `live` holds. `x_range` fixes the x axis, as
    a run's planned steps do. `marks` are dashed horizontal lines, label -> height. `y_format` is
    a printf format for the y axis, such as "%.0e".
    """
    from bokeh.models import ColumnDataSource, PrintfTickFormatter

    axis = "log" if y_log else "linear"
    plot = figure_make(x_label=x_label, y_label=y_label, y_axis_type=axis)
    figure_scale(plot, x_range=x_range, from_zero=y_from_zero and not y_log)
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
    )


def _legend(series: Sequence[Series]) -> list[LegendEntry]:
    return [
        LegendEntry(
            name=one.name,
            number=index % SERIES_COUNT + 1,
            dashes=" ".join(map(str, SERIES_DASHES[index % SERIES_COUNT])),
        )
        for index, one in enumerate(series)
    ]


def _draw_points(plot: Any, series: Series, source: Any, colour: str, index: int) -> None:
    if not series.has_points:
        return
    points, alpha = ("y", 1.0) if series.raw is None else ("raw", 0.35)
    style = {"size": 5, "line_color": None, "fill_color": colour, "alpha": alpha}
    plot.scatter("x", points, source=source, **style)


def _draw_line(plot: Any, series: Series, source: Any, colour: str, index: int) -> None:
    if series.lower is not None and series.upper is not None:
        plot.varea("x", "lower", "upper", source=source, fill_alpha=0.15, fill_color=colour)
    dashes = SERIES_DASHES[index % SERIES_COUNT]
    plot.line("x", "y", source=source, line_width=2, line_color=colour, line_dash=dashes)


def _line_rows(series: Sequence[Series]) -> list[list[str]]:
    values = [dict(zip(one.x, one.y, strict=True)) for one in series]
    steps = sorted({x for one in series for x in one.x})
    return [[_text(x), *(_text(of.get(x)) for of in values)] for x in steps]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its interval, for `interval_chart`."""

    label: str
    value: float
    low: float
    high: float


def interval_chart(
    *,
    title: str,
    unit: str,
    intervals: Sequence[Interval],
    reference: float = 0.0,
    caption: str = "",
) -> Chart:
    """One row a label: a dot for the value, a bar for its interval, a line at `reference`."""
    from bokeh.models import BasicTicker, ColumnDataSource
    from bokeh.models.annotations import Span

    labels = [one.label for one in intervals]
    plot = figure_make(
        x_label=unit, y_label="", height=80 + 36 * len(labels), y_range=list(reversed(labels))
    )
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)  # more would overlap on a phone
    rows = [[one.label, _text(one.value), _text(one.low), _text(one.high)] for one in intervals]
    source = ColumnDataSource(
        data={
            "x": [one.value for one in intervals],
            "y": labels,
            "low": [one.low for one in intervals],
            "high": [one.high for one in intervals],
            "tip": [f"{row[0]}\n{unit}: {row[1]}\nfrom {row[2]} to {row[3]}" for row in rows],
        }
    )
    plot.add_layout(
        Span(location=reference, dimension="height", line_color=INK_SOFT, line_dash=[4, 4])
    )
    bar = {"height": 0.18, "fill_color": ACCENT, "line_color": None, "alpha": 0.4}
    plot.hbar("y", left="low", right="high", source=source, **bar)
    # A span does not widen the range by itself: an invisible point keeps the reference in view.
    plot.scatter([reference], labels[:1], alpha=0)
    plot.scatter("x", "y", source=source, size=10, color=ACCENT)
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=["", unit, "from", "to"],
        rows=rows,
        hover="point",
        caption=caption,
    )


def scatter_chart(
    *,
    title: str,
    x_label: str,
    y_label: str,
    points: Sequence[tuple[str, float, float]],
    caption: str = "",
) -> Chart:
    """Named points on two axes; each name is shown on hover and beside its point."""
    from bokeh.core.properties import value
    from bokeh.models import ColumnDataSource

    plot = figure_make(x_label=x_label, y_label=y_label, height=320)
    plot.x_range.range_padding = plot.y_range.range_padding = 0.15
    rows = [[name, _text(x), _text(y)] for name, x, y in points]
    places = [x for _, x, _ in points]
    middle = (min(places) + max(places)) / 2 if places else 0.0
    source = ColumnDataSource(
        data={
            "name": [name for name, _, _ in points],
            "x": [x for _, x, _ in points],
            "y": [y for _, _, y in points],
            "tip": [f"{name}\n{x_label}: {x}\n{y_label}: {y}" for name, x, y in rows],
            # Names right of the middle stand left of their points, so that none is cut off.
            "align": ["right" if x > middle else "left" for _, x, _ in points],
            "offset": [-9 if x > middle else 9 for _, x, _ in points],
        }
    )
    plot.scatter("x", "y", source=source, size=10, color=ACCENT)
    plot.text(
        "x",
        "y",
        text="name",
        source=source,
        text_align="align",
        x_offset="offset",
        y_offset=-5,
        text_color=INK,
        text_font=value("system-ui"),
        text_font_size=value("12px"),
    )
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=["", x_label, y_label],
        rows=rows,
        hover="point",
        caption=caption,
    )
