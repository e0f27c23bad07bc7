"""Bare Bokeh figures in the portal's look, and their JSON with colours named by role."""

from typing import Any

SERIES_COUNT = 8
"""Colours and dash patterns in the stylesheet; a ninth series looks like the first."""
# Each series also has a dash pattern: colours alone cannot be told apart by everybody.
SERIES_DASHES: tuple[list[int], ...] = (
    [],
    [7, 4],
    [2, 3],
    [9, 3, 2, 3],
    [5, 2],
    [12, 4],
    [3, 5],
    [1, 2],
)
LIMIT_DASHES = [4, 4]
_SERIES_ROLES = [f"--series-{number + 1}" for number in range(SERIES_COUNT)]
_ROLES = ("--ink", "--ink-soft", "--line", "--raised", "--accent", *_SERIES_ROLES)
# Bokeh takes nothing but real colours: each role has a placeholder, put back in `figure_item`.
_PLACEHOLDERS = {role: f"#fe01{index:02x}" for index, role in enumerate(_ROLES)}
INK, INK_SOFT, LINE, PAPER, ACCENT, *SERIES_COLOURS = _PLACEHOLDERS.values()


def figure_make(*, x_label: str, y_label: str, height: int = 260, **options: Any) -> Any:
    """An empty figure, as wide as its place; `options` are Bokeh's own."""
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
        min_border_right=16,
        min_border_top=8,
        **options,
    )
    for axis in plot.axis:
        axis.axis_line_color = LINE
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.major_label_text_color = INK_SOFT
        axis.axis_label_text_color = INK_SOFT
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font = "system-ui"
        axis.axis_label_text_font = "system-ui"
        axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_size = "12px"
        axis.axis_label_standoff = 8
    plot.yaxis.axis_line_color = None
    plot.xgrid.grid_line_color = None
    plot.ygrid.grid_line_color = LINE
    return plot


def figure_scale(plot: Any, *, x_range: tuple[float, float] | None, from_zero: bool) -> None:
    """Whole steps on the x axis, from and to where `x_range` says; the y axis from 0 if asked."""
    from bokeh.models import BasicTicker, Range1d

    plot.xaxis.ticker = BasicTicker(min_interval=1)
    if x_range is not None:
        plot.x_range = Range1d(start=x_range[0], end=x_range[1])
    if from_zero:
        plot.y_range.start = 0
    plot.y_range.range_padding = 0.08


def figure_mark(plot: Any, label: str, height: float) -> None:
    """A dashed horizontal line with its label, within the range."""
    from bokeh.models.annotations import Label, Span

    plot.add_layout(Span(location=height, dimension="width", line_color=INK_SOFT, line_dash=[4, 4]))
    plot.add_layout(
        Label(
            x=8,
            x_units="screen",
            y=height,
            y_offset=3,
            text=label,
            text_color=INK_SOFT,
            text_font="system-ui",
            text_font_size="12px",
        )
    )
    # A span and its label do not widen the range by themselves: invisible points do.
    plot.scatter([0, 0], [height, height * 1.12], alpha=0)


def figure_item(plot: Any) -> dict[str, Any]:
    """The figure as Bokeh's JSON item, for `Bokeh.embed.embed_item` in charts.js."""
    from bokeh.embed import json_item

    roles = {placeholder: role for role, placeholder in _PLACEHOLDERS.items()}

    def put_back(value: Any) -> Any:
        if isinstance(value, str):
            return roles.get(value, value)
        if isinstance(value, dict):
            return {key: put_back(one) for key, one in value.items()}
        if isinstance(value, list):
            return [put_back(one) for one in value]
        return value

    return dict(put_back(json_item(plot)))
