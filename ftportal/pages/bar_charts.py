"""Bar charts: how often each of some values or ranges occurs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.pages.charts import Chart
from ftportal.pages.figures import ACCENT, INK, figure_item, figure_make


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A value or range, how often it occurs, and whether it is of the kind that is wanted."""

    label: str
    count: int
    is_marked: bool = True


def bar_chart(
    *, title: str, x_label: str, y_label: str, bars: Sequence[Bar], caption: str = ""
) -> Chart:
    """Upright bars from zero, in the order given; those that are not marked are paler."""
    from bokeh.models import ColumnDataSource

    labels = [bar.label for bar in bars]
    plot = figure_make(x_label=x_label, y_label=y_label, height=220, x_range=labels)
    source = ColumnDataSource(
        data={
            "x": labels,
            "y": [bar.count for bar in bars],
            "middle": [bar.count / 2 for bar in bars],
            "alpha": [1.0 if bar.is_marked else 0.35 for bar in bars],
            "tip": [f"{x_label} {bar.label}\n{bar.count:,} {y_label}" for bar in bars],
        }
    )
    plot.vbar("x", top="y", width=0.9, source=source, color=ACCENT, alpha="alpha")
    plot.scatter("x", "middle", source=source, size=14, alpha=0, color=INK)  # what hover finds
    plot.y_range.start = 0
    plot.xaxis.major_label_orientation = 0.8 if len(bars) > 4 else 0
    return Chart(
        title=title,
        item=figure_item(plot),
        columns=[x_label, y_label],
        rows=[[bar.label, f"{bar.count:,}"] for bar in bars],
        hover="point",
        caption=caption,
    )
