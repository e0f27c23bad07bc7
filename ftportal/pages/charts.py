"""Charts: Bokeh figures as JSON items, each with the table behind it.

Colours are named by their role in the stylesheet ("--accent"); charts.js puts the values in, so
one chart serves light and dark. Bokeh is imported when the first chart is made: the web process
starts without it.
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

INK, INK_SOFT, LINE, PAPER = "--ink", "--ink-soft", "--line", "--raised"
# The accent first; the others can be told apart by people who see colours differently, and each
# also has a dash pattern of its own.
SERIES_COLOURS = (
    "--accent",
    "#c2571a",
    "#1d8a6b",
    "#8a4fbf",
    "#a8860b",
    "#c23b6e",
    "#4f7a9e",
    "#6b6b6b",
)
SERIES_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "solid", "dashed", "dotted")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: `x` and `y` of equal length, optionally a band from `lower` to `upper`."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawn chart and the table behind it."""

    title: str
    item: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    update_url: str = ""
    element_id: str = field(default_factory=lambda: f"chart-{uuid.uuid4().hex[:12]}")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _text(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _figure(*, x_label: str, y_label: str, height: int = 260, **options: Any) -> Any:
    from bokeh.plotting import figure

    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        x_axis_label=x_label,
        y_axis_label=y_label,
        background_fill_color=PAPER,
        border_fill_color=PAPER,
        outline_line_color=None,
        **options,
    )
    for axis in plot.axis:
        axis.axis_line_color = LINE
        axis.major_tick_line_color = LINE
        axis.minor_tick_line_color = None
        axis.major_label_text_color = INK_SOFT
        axis.axis_label_text_color = INK_SOFT
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font = "system-ui"
        axis.axis_label_text_font = "system-ui"
    plot.grid.grid_line_color = LINE
    return plot


def _legend_below(plot: Any) -> None:
    if not plot.legend:
        return
    legend = plot.legend[0]
    legend.background_fill_color = PAPER
    legend.border_line_color = None
    legend.label_text_color = INK
    legend.label_text_font = "system-ui"
    legend.orientation = "horizontal"
    legend.click_policy = "hide"
    legend.ncols = 3
    plot.add_layout(legend, "below")


def _item(plot: Any) -> dict[str, Any]:
    from bokeh.embed import json_item

    return dict(json_item(plot))


def line_chart(
    *,
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    y_log: bool = False,
    caption: str = "",
    update_url: str = "",
    x_range: Any = None,
) -> Chart:
    """Lines over a shared x axis, with hover; missing values are gaps.

    `update_url` gives {"live": bool, "series": {name: {"x": [...], "y": [...]}}}; charts.js asks it
    every two seconds and patches the lines in place while `live` holds.
    """
    from bokeh.models import ColumnDataSource, HoverTool

    options = {"y_axis_type": "log"} if y_log else {}
    plot = _figure(x_label=x_label, y_label=y_label, **options)
    for index, one in enumerate(series):
        colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
        dash = SERIES_DASHES[index % len(SERIES_DASHES)]
        data: dict[str, list[float]] = {"x": list(one.x), "y": [_number(y) for y in one.y]}
        if one.lower is not None and one.upper is not None:
            data |= {"lower": list(one.lower), "upper": list(one.upper)}
        source = ColumnDataSource(data=data, name=one.name)
        if "lower" in data:
            plot.varea(
                x="x", y1="lower", y2="upper", source=source, fill_alpha=0.15, fill_color=colour
            )
        label = {"legend_label": one.name} if len(series) > 1 else {}
        line = plot.line(
            "x", "y", source=source, line_width=2, line_color=colour, line_dash=dash, **label
        )
        marks = plot.scatter("x", "y", source=source, size=4, color=colour, **label)
        hover = HoverTool(
            renderers=[marks],
            tooltips=[("", one.name), (x_label, "@x"), (y_label, "@y{0.[0000]}")],
            mode="mouse",
        )
        plot.add_tools(hover)
        line.nonselection_glyph = None
    _legend_below(plot)
    columns = [x_label, *(one.name for one in series)]
    return Chart(
        title=title,
        item=_item(plot),
        columns=columns,
        rows=_line_rows(series),
        caption=caption,
        update_url=update_url,
    )


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
    from bokeh.models import ColumnDataSource, HoverTool, Span, Whisker

    labels = [one.label for one in intervals]
    plot = _figure(
        x_label=unit, y_label="", height=80 + 36 * len(labels), y_range=list(reversed(labels))
    )
    source = ColumnDataSource(
        data={
            "label": labels,
            "value": [one.value for one in intervals],
            "low": [one.low for one in intervals],
            "high": [one.high for one in intervals],
        }
    )
    plot.add_layout(
        Span(location=reference, dimension="height", line_color=INK_SOFT, line_dash="dashed")
    )
    plot.add_layout(
        Whisker(
            base="label",
            lower="low",
            upper="high",
            source=source,
            dimension="width",
            line_color="--accent",
            line_width=2,
        )
    )
    dots = plot.scatter("value", "label", source=source, size=9, color="--accent")
    plot.add_tools(
        HoverTool(
            renderers=[dots],
            tooltips=[
                ("", "@label"),
                (unit, "@value{0.[000]}"),
                ("interval", "@low{0.[000]} to @high{0.[000]}"),
            ],
        )
    )
    rows = [[one.label, _text(one.value), _text(one.low), _text(one.high)] for one in intervals]
    return Chart(
        title=title, item=_item(plot), columns=["", unit, "from", "to"], rows=rows, caption=caption
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
    from bokeh.models import ColumnDataSource, HoverTool, LabelSet

    plot = _figure(x_label=x_label, y_label=y_label, height=320)
    source = ColumnDataSource(
        data={
            "name": [name for name, _, _ in points],
            "x": [x for _, x, _ in points],
            "y": [y for _, _, y in points],
        }
    )
    marks = plot.scatter("x", "y", source=source, size=10, color="--accent")
    plot.add_layout(
        LabelSet(
            x="x",
            y="y",
            text="name",
            source=source,
            x_offset=8,
            y_offset=4,
            text_color=INK,
            text_font="system-ui",
            text_font_size="12px",
        )
    )
    plot.add_tools(
        HoverTool(renderers=[marks], tooltips=[("", "@name"), (x_label, "@x"), (y_label, "@y")])
    )
    rows = [[name, _text(x), _text(y)] for name, x, y in points]
    return Chart(
        title=title, item=_item(plot), columns=["", x_label, y_label], rows=rows, caption=caption
    )
