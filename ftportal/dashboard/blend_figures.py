"""The curves of gain and loss over alpha."""

from collections.abc import Sequence

from evaluation.judging.verdict import POOLED_TITLE
from ftportal.dashboard.selectors.blending import Curve, Point
from ftportal.evaluations.selectors import Change
from ftportal.pages.charts import Chart, Series, line_chart

_WAY = "percent of the way from the parent"


def blend_charts(curve: Curve) -> list[Chart]:
    """Right answers and perplexity against the parent, from the parent (0) to the candidate (100).

    None before two points are measured.
    """
    points = curve.measured
    if len(points) < 2:
        return []
    charts = [*_gain_chart(curve)]
    answers = [(one, one.accuracy) for one in points]
    if any(change is not None and change.value is not None for _, change in answers):
        charts.append(
            line_chart(
                title="Right answers against the parent",
                x_label=_WAY,
                y_label="points of 100 answers",
                series=[
                    _series(POOLED_TITLE, answers),
                    _limit(-100 * curve.rule.pooled_margin),
                ],
                caption="Lower is worse. The band is the 95 % interval; the dashed line is what "
                "one session may lose.",
                x_range=(0, 100),
            )
        )
    if curve.texts:
        charts.append(
            line_chart(
                title="Perplexity against the parent",
                x_label=_WAY,
                y_label="change in percent",
                series=[
                    *(
                        _series(name, [(one, one.perplexity.get(name)) for one in points])
                        for name in curve.texts
                    ),
                    _limit(100 * (curve.rule.perplexity_margin_ratio - 1)),
                ],
                caption="Higher is worse. Bands are 95 % intervals; the dashed line is what one "
                "session may lose.",
                x_range=(0, 100),
            )
        )
    return charts


def _gain_chart(curve: Curve) -> list[Chart]:
    """What of the session is kept on the way, where it is measured at two points or more."""
    gains = [(one, one.gain) for one in curve.points if one.gain is not None]
    known = [(one, change) for one, change in gains if change.value is not None]
    if len(known) < 2:
        return []
    return [
        line_chart(
            title="What it learned, on examples set aside",
            x_label=_WAY,
            y_label="nats a decision token",
            series=[
                Series(
                    name="Gain",
                    x=[100 * one.alpha for one, _ in known],
                    y=[change.value for _, change in known],
                    lower=[change.low for _, change in known],
                    upper=[change.high for _, change in known],
                )
            ],
            caption="Higher is better: how much less surprising the session's own held-out "
            "examples are than to the parent. The band is the 95 % interval.",
            x_range=(0, 100),
        )
    ]


def _series(name: str, changes: Sequence[tuple[Point, Change | None]]) -> Series:
    """One measure over alpha; the parent itself is exactly zero."""
    zero = Change(value=0.0, low=0.0, high=0.0)
    values = [
        (zero if one.alpha == 0 else change or Change()).hundredths for one, change in changes
    ]
    return Series(
        name=name,
        x=[100 * one.alpha for one, _ in changes],
        y=[one["value"] for one in values],
        lower=[one["low"] for one in values],
        upper=[one["high"] for one in values],
    )


def _limit(height: float) -> Series:
    return Series(name="Allowed", x=[0.0, 100.0], y=[height, height], is_limit=True)
