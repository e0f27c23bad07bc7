"""Charts of single values: with their intervals in rows, or on two axes."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.pages.charts import Chart, text_of
from ftportal.pages.figures import ACCENT, INK, INK_SOFT, figure_item, figure_make


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
    rows = [[name, text_of(x), text_of(y)] for name, x, y in points]
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
