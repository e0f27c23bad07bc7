"""The charts of compare and lineage."""

from collections import defaultdict
from collections.abc import Sequence

from ftportal.dashboard.selectors.lineage import Line
from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.runs.metrics import MEAN_STEPS, minmax_indices, trailing_means
from ftportal.runs.models import Metric, Run

POINTS_MOST = 300
"""Points a curve; longer ones keep the lowest and the highest of equal stretches."""
_CURVES = (
    ("loss_nats", "Loss", "nats a decision token", True),
    ("gradient_norm", "Gradient norm", "L2 norm before clipping", True),
    ("displacement", "Displacement from the parent", "L2 norm of the weights' change", False),
)


def run_curves(runs: Sequence[Run]) -> list[Chart]:
    """Loss, gradient norm and displacement of several runs, each on shared axes."""
    names = [name for name, *_ in _CURVES]
    rows = Metric.objects.filter(run__in=runs, name__in=names).order_by("step")
    points: dict[tuple[int, str], list[tuple[int, float | None]]] = defaultdict(list)
    for run_id, name, step, value in rows.values_list("run_id", "name", "step", "value"):
        points[run_id, name].append((step, value))
    charts = []
    for name, title, unit, smooth in _CURVES:
        series = [
            _curve(run.name, points[run.pk, name], smooth=smooth)
            for run in runs
            if points[run.pk, name]
        ]
        if series:
            charts.append(
                line_chart(
                    title=title,
                    x_label="step",
                    y_label=unit,
                    series=series,
                    y_from_zero=True,
                    caption=f"Mean of the last {MEAN_STEPS} steps." if smooth else "",
                )
            )
    return charts


def _curve(name: str, points: Sequence[tuple[int, float | None]], *, smooth: bool) -> Series:
    values = [value for _, value in points]
    shown = trailing_means(values, MEAN_STEPS) if smooth else values
    kept = minmax_indices(shown, POINTS_MOST)
    return Series(name=name, x=[points[at][0] for at in kept], y=[shown[at] for at in kept])


def line_charts(line: Line) -> list[Chart]:
    """Accuracy and perplexity against the pre-trained model over the sessions of a line."""
    if not line.sessions:
        return []
    sessions = line.sessions
    numbers = [0.0, *(float(one.number) for one in sessions)]
    accuracy = [one.accuracy for one in sessions]
    charts = []
    if any(one.value is not None for one in accuracy):
        points = [None if one.value is None else 100 * one.value for one in accuracy]
        charts.append(
            line_chart(
                title="Right answers against the pre-trained model",
                x_label="session",
                y_label="points",
                series=[
                    Series(
                        name="all benchmarks together",
                        x=numbers,
                        y=[0.0, *points],
                        lower=[0.0, *(100 * (one.low or 0.0) for one in accuracy)],
                        upper=[0.0, *(100 * (one.high or 0.0) for one in accuracy)],
                    )
                ],
                marks=_mark(line.points_allowed),
                caption="Difference in points of 100; the band is its 95 % interval.",
            )
        )
    names = list(dict.fromkeys(name for one in sessions for name in one.perplexity))
    if names:
        series = []
        for name in names:
            changes = [one.perplexity.get(name) for one in sessions]
            values = [None if c is None or c.value is None else 100 * c.value for c in changes]
            series.append(Series(name=name, x=numbers, y=[0.0, *values]))
        charts.append(
            line_chart(
                title="Perplexity against the pre-trained model",
                x_label="session",
                y_label="%",
                series=series,
                marks=_mark(line.percent_allowed),
                caption="Relative change a held-out text; higher is worse.",
            )
        )
    return charts


def _mark(height: float | None) -> dict[str, float]:
    return {} if height is None else {"allowed": height}
