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
