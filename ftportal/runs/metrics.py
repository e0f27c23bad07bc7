"""What a run measured while it ran, ready to be drawn."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftportal.runs.models import Curve, CurveChunk, Run
from ftportal.runs.packing import (
    BLOCK,
    BLOCK_TYPE,
    MEAN_STEPS,
    Floats,
    Points,
    Steps,
    blocks_of,
    concatenated,
    extremes,
    means_of,
    unpack,
)

__all__ = ["MEAN_STEPS"]

POINTS_MAX = 1000
"""Points of one line; more are thinned out, keeping every bucket's lowest and highest value."""

Key = tuple[int, str]
"""A run's primary key and the name of a metric."""


@dataclass(frozen=True, kw_only=True)
class SmoothSeries:
    """One metric: at each step what was measured and its trailing mean over MEAN_STEPS values."""

    steps: list[int]
    means: list[float | None]
    measured: list[float | None]
    """None where it was not finite."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What lists and figures say of one metric without reading its points."""

    count: int
    """Steps that it was measured after."""
    last: float | None
    """The newest value; None where it was not finite."""
    mean: float | None
    """Mean of the last MEAN_STEPS known values; None before the first."""


def metric_names(run: Run) -> list[str]:
    """The names of everything that the run measured, in the order of the alphabet."""
    return list(Curve.objects.filter(run=run).order_by("name").values_list("name", flat=True))


def metric_series(
    run: Run, name: str, points: int = POINTS_MAX
) -> tuple[list[int], list[float | None]]:
    """Steps and values of one metric, as `metric_lines` has them; empty where there are none."""
    line = metric_smooth(run, name, points)
    return line.steps, line.measured


def metric_smooth(run: Run, name: str, points: int = POINTS_MAX) -> SmoothSeries:
    """One metric, as `metric_lines` has it; empty where it was not measured."""
    nothing = SmoothSeries(steps=[], means=[], measured=[])
    return metric_lines([run.pk], [name], points).get((run.pk, name), nothing)


def metric_lines(
    run_ids: Collection[int],
    names: Collection[str],
    points: int = POINTS_MAX,
    *,
    by_means: bool = False,
) -> dict[Key, SmoothSeries]:
    """The lines of metrics that were measured, in three queries however many there are.

    A line with more than `points` points is thinned out: of equal buckets the lowest and the
    highest value stay, or with `by_means` the lowest and highest mean, and so do both ends. Long
    ones are thinned from the blocks beside their chunks, whose points are not read; with `by_means`
    they have their means for what was measured too.
    """
    curves = list(Curve.objects.filter(run__in=run_ids, name__in=names))
    long = {one.pk for one in curves if one.count > BLOCK // 2 * points}
    blocks = _chunk_columns([one for one in curves if one.pk in long], "blocks")
    packed = _chunk_columns([one for one in curves if one.pk not in long], "data")
    lines = {}
    for curve in curves:
        tail = unpack(curve.tail)
        if curve.pk in long:
            line = _long_line(curve, blocks[curve.pk], tail, by_means)
        else:
            whole = concatenated([*map(unpack, packed[curve.pk]), tail])
            line = _Line.of_points(whole)
        lines[curve.run_id, curve.name] = line.thinned(points, by_means).series()
    return lines


def _chunk_columns(curves: Sequence[Curve], column: str) -> Mapping[int, list[bytes]]:
    """Curve -> one column of its chunks, by step: of those that there were when it was read."""
    packed = {one.pk: one.packed_step for one in curves if one.packed_step is not None}
    of_curve: dict[int, list[bytes]] = defaultdict(list)
    if not packed:
        return of_curve
    rows = CurveChunk.objects.filter(curve__in=packed).order_by("curve", "first_step")
    for pk, step, value in rows.values_list("curve", "first_step", column).iterator():
        last = packed[pk]
        if last is not None and step <= last:
            of_curve[pk].append(value)
    return of_curve


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Arrays of equal length; NaN stands for missing."""

    steps: Steps
    values: Floats
    means: Floats

    @classmethod
    def of_points(cls, points: Points) -> "_Line":
        means = means_of(points.values, np.zeros(0))
        return cls(steps=points.steps, values=points.values, means=means)

    def thinned(self, points: int, by_means: bool) -> "_Line":
        kept = minmax_indices(self.means if by_means else self.values, points)
        return _Line(steps=self.steps[kept], values=self.values[kept], means=self.means[kept])

    def series(self) -> SmoothSeries:
        return SmoothSeries(
            steps=self.steps.tolist(), means=_listed(self.means), measured=_listed(self.values)
        )


def _long_line(curve: Curve, blocks: Sequence[bytes], tail: Points, by_means: bool) -> _Line:
    """The points that the blocks of a curve keep, its newest points' among them."""
    newest = blocks_of(tail, np.array(curve.packed_recent), is_last=True)
    rows = np.concatenate([np.frombuffer(b"".join(blocks), dtype=BLOCK_TYPE), newest])
    fields = ("mean_low", "mean_high") if by_means else ("low", "high")
    steps = np.stack([rows[f"{field}_step"] for field in fields], axis=1).ravel()
    values = np.stack([rows[f"{field}_value"] for field in fields], axis=1).ravel()
    kept, first = np.unique(steps, return_index=True)
    if by_means:
        return _Line(steps=kept, values=values[first], means=values[first])
    means = np.stack([rows["low_mean"], rows["high_mean"]], axis=1).ravel()
    return _Line(steps=kept, values=values[first], means=means[first])


def _listed(values: Floats) -> list[float | None]:
    missing = np.isnan(values)
    if not missing.any():
        return values.tolist()
    cells = values.astype(object)
    cells[missing] = None
    return cells.tolist()


def summaries(run: Run, names: Iterable[str] | None = None) -> dict[str, Summary]:
    """Name -> what is known of each metric of a run, in one query; those of `names` alone."""
    rows = Curve.objects.filter(run=run)
    if names is not None:
        rows = rows.filter(name__in=list(names))
    return {
        name: Summary(count=count, last=last, mean=mean)
        for name, count, last, mean in rows.values_list("name", "count", "last_value", "mean")
    }


NOTHING = Summary(count=0, last=None, mean=None)
"""Of what was not measured."""


def metric_last(run: Run, name: str) -> float | None:
    """The newest value of one metric; None where there is none, or it was not finite."""
    return summaries(run, [name]).get(name, NOTHING).last


def loss_now(run: Run, name: str = "loss_nats") -> float | None:
    """Mean loss of the last MEAN_STEPS steps that have one, nats per decision token.

    name: of the metric, such as that of one batch. None before the first.
    """
    return summaries(run, [name]).get(name, NOTHING).mean


def minmax_indices(values: Floats, points: int) -> NDArray[np.int64]:
    """Which at most `points` values to draw: of equal buckets the lowest and the highest each.

    The first and the last value stay, and so does a missing one in a bucket of nothing else.
    """
    if len(values) <= points:
        return np.arange(len(values))
    buckets = max(1, (points - 2) // 2)
    inner = values[1:-1]
    low, high = extremes(inner, np.arange(buckets) * len(inner) // buckets)
    is_kept = np.zeros(len(values), dtype=bool)
    is_kept[[0, -1]] = is_kept[low + 1] = is_kept[high + 1] = True
    return np.flatnonzero(is_kept)
