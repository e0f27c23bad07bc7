"""What a run measured while it ran, ready to be drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.runs.models import Metric, Run

POINTS_MAX = 1000
"""Points of one line; more are thinned out, keeping every bucket's lowest and highest value."""
MEAN_STEPS = 10
"""Steps in the trailing mean that smooths a loss of single examples."""

Values = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class SmoothSeries:
    """One metric: at each step its trailing mean and what was measured."""

    steps: list[int]
    means: list[float | None]
    measured: list[float | None]


def metric_names(run: Run) -> list[str]:
    """The names of everything that the run measured, in the order of the alphabet."""
    return list(
        Metric.objects.filter(run=run).order_by("name").values_list("name", flat=True).distinct()
    )


def metric_series(
    run: Run, name: str, points: int = POINTS_MAX
) -> tuple[list[int], list[float | None]]:
    """Steps and values of one metric; None where the value was not finite.

    More than `points` values are thinned out by `minmax_indices`, so peaks stay to be seen.
    """
    steps, values = _all_values(run, name)
    kept = minmax_indices(values, points)
    return [steps[at] for at in kept], [values[at] for at in kept]


def metric_smooth(run: Run, name: str, points: int = POINTS_MAX) -> SmoothSeries:
    """As `metric_series`, with the mean over the last MEAN_STEPS values beside each value."""
    steps, values = _all_values(run, name)
    means = trailing_means(values, MEAN_STEPS)
    kept = minmax_indices(values, points)
    return SmoothSeries(
        steps=[steps[at] for at in kept],
        means=[means[at] for at in kept],
        measured=[values[at] for at in kept],
    )


def metric_last(run: Run, name: str) -> float | None:
    """The newest value of one metric; None where there is none, or it was not finite."""
    newest = Metric.objects.filter(run=run, name=name).order_by("-step")
    return newest.values_list("value", flat=True).first()


def loss_now(run: Run, name: str = "loss_nats") -> float | None:
    """Mean loss of the last MEAN_STEPS steps that have one, nats per decision token.

    name: of the metric, such as that of one batch. None before the first.
    """
    newest = Metric.objects.filter(run=run, name=name, value__isnull=False)
    values = newest.order_by("-step").values_list("value", flat=True)[:MEAN_STEPS]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _all_values(run: Run, name: str) -> tuple[list[int], list[float | None]]:
    rows = list(
        Metric.objects.filter(run=run, name=name).order_by("step").values_list("step", "value")
    )
    return [step for step, _ in rows], [value for _, value in rows]


def trailing_means(values: Values, width: int) -> list[float | None]:
    """At each place the mean of the last `width` known values; None where the value is missing."""
    means: list[float | None] = []
    window: list[float] = []
    for value in values:
        if value is None:
            means.append(None)
            continue
        window = [*window[-(width - 1) :], value] if width > 1 else [value]
        means.append(math.fsum(window) / len(window))
    return means


def minmax_indices(values: Values, points: int) -> list[int]:
    """Which at most `points` values to draw: of equal buckets the lowest and the highest each.

    The first and the last value stay, and so does a missing one in a bucket of nothing else.
    """
    if len(values) <= points:
        return list(range(len(values)))
    buckets = max(1, (points - 2) // 2)
    inner = len(values) - 2
    kept = {0, len(values) - 1}
    for bucket in range(buckets):
        start, stop = 1 + bucket * inner // buckets, 1 + (bucket + 1) * inner // buckets
        known = [(value, at) for at in range(start, stop) if (value := values[at]) is not None]
        kept |= {min(known)[1], max(known)[1]} if known else {start}
    return sorted(kept)
