"""Charts of single values: with their intervals in rows, or on two axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftportal.pages.charts import Chart, text_of
from ftportal.pages.figures import ACCENT, INK, INK_SOFT, LIMIT_DASHES, figure_item, figure_make


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
    rows = [
        [one.label, text_of(one.value), text_of(one.low), text_of(one.high)] for one in intervals
    ]
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
        columns=["Name", unit, "from", "to"],
        rows=rows,
        hover="point",
        caption=caption,
    )


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A named point on two axes, with an interval on each where there is one."""

    name: str
    x: float
    y: float
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None

    @property
    def words(self) -> tuple[str, str]:
        """x and y, each with its interval."""
        return (
            _with_interval(self.x, self.x_low, self.x_high),
            _with_interval(self.y, self.y_low, self.y_high),
        )


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return text_of(value)
    return f"{text_of(value)} ({text_of(low)} to {text_of(high)})"


def scatter_chart(
    *,
    title: str,
    x_label: str,
    y_label: str,
    spots: Sequence[Spot],
    front: Sequence[Spot] = (),
    caption: str = "",
) -> Chart:
    """Named points on two axes, each with its intervals as bars and its name beside it.

    `front` are points that a dashed line joins, from left to right.
    """
    from bokeh.models import ColumnDataSource

    plot = figure_make(x_label=x_label, y_label=y_label, height=360)
    plot.x_range.range_padding = plot.y_range.range_padding = 0.15
    _draw_intervals(plot, spots)
    joined = sorted(front, key=lambda one: one.x)
    if len(joined) > 1:
        style = {"line_color": INK_SOFT, "line_dash": LIMIT_DASHES, "line_width": 1.5}
        plot.line([one.x for one in joined], [one.y for one in joined], **style)
    places = [one.x for one in spots]
    middle = (min(places) + max(places)) / 2 if places else 0.0
    source = ColumnDataSource(
        data={
            "name": [one.name for one in spots],
            "x": places,
            "y": [one.y for one in spots],
            "tip": [
                f"{one.name}\n{x_label}: {one.words[0]}\n{y_label}: {one.words[1]}" for one in spots
            ],
            # Names right of the middle stand left of their points, so that none is cut off.
            "align": ["right" if x > middle else "left" for x in places],
            "offset": [-9 if x > middle else 9 for x in places],
        }
    )
    plot.scatter("x", "y", source=source, size=10, color=ACCENT)
    _draw_names(plot, source)
    best = {id(one) for one in front}
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=["Name", x_label, y_label, *(["on the front"] if front else [])],
        rows=[
            [one.name, *one.words, *(["yes" if id(one) in best else "no"] if front else [])]
            for one in spots
        ],
        hover="point",
        caption=caption,
    )


def _draw_intervals(plot: Any, spots: Sequence[Spot]) -> None:
    bars = {"line_color": ACCENT, "line_width": 2, "line_alpha": 0.4}
    for one in spots:
        if one.x_low is not None and one.x_high is not None:
            plot.segment([one.x_low], [one.y], [one.x_high], [one.y], **bars)
        if one.y_low is not None and one.y_high is not None:
            plot.segment([one.x], [one.y_low], [one.x], [one.y_high], **bars)


def _draw_names(plot: Any, source: Any) -> None:
    from bokeh.core.properties import value

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
