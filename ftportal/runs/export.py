"""Everything that a run measured, as CSV, made while it is sent."""

from collections.abc import Iterator, Sequence

import numpy as np

from ftportal.pages.csvs import csv_line
from ftportal.runs.models import Curve, CurveChunk, Run
from ftportal.runs.packing import CHUNK, NO_POINTS, Points, concatenated, unpack
from ftportal.runs.recipes import batch_key
from ftportal.runs.watching import probe_key

_LINES_AT_ONCE = 4096
_POINTS_AT_ONCE = 128 * CHUNK
"""Read at a time for all curves together, but of each at least a chunk."""


def metrics_rows(run: Run) -> Iterator[str]:
    """Lines of step, metric, what it is about (a batch or a text by its name) and value.

    In the order of steps and, within one, of metrics. A few thousand lines come at a time: what is
    in memory is some chunks of every curve, however long they are.
    """
    yield csv_line(["step", "metric", "about", "value"])
    curves = list(Curve.objects.filter(run=run).order_by("name"))
    names = _names(run)
    middles = np.array([_middle(one.name, names) for one in curves], dtype=object)
    for numbers, points in _in_order(curves):
        for start in range(0, len(points), _LINES_AT_ONCE):
            part = points[start : start + _LINES_AT_ONCE]
            texts = middles[numbers[start : start + _LINES_AT_ONCE]]
            rows = zip(part.steps.tolist(), texts, part.values.tolist(), strict=True)
            yield "".join(f"{step}{text}{_value(value)}\r\n" for step, text, value in rows)


def _value(value: float) -> str:
    return '""' if value != value else repr(value)


def _middle(name: str, names: dict[str, str]) -> str:
    """The two cells between step and value, with the commas about them."""
    stem, _, key = name.rpartition("/")
    about = names.get(key, "") if stem else ""
    return f",{csv_line([stem if about else name, about]).strip()},"


class _Reader:
    """One curve's points, read a few chunks at a time: `ready` comes before all that follows."""

    def __init__(self, curve: Curve, chunks: int) -> None:
        self._curve = curve
        self._chunks = chunks
        self._after: int | None = None
        self.is_whole = False
        self.ready = NO_POINTS

    def fill(self) -> None:
        """Have points ready, or nothing where all were taken."""
        if self.is_whole or len(self.ready):
            return
        last = self._curve.packed_step  # what is packed meanwhile is in this tail
        parts = []
        if last is not None:
            rows = CurveChunk.objects.filter(curve=self._curve, first_step__lte=last)
            if self._after is not None:
                rows = rows.filter(first_step__gt=self._after)
            data = rows.order_by("first_step").values_list("data", flat=True)
            parts = [unpack(one) for one in data[: self._chunks]]
        if len(parts) < self._chunks:
            self.is_whole = True
            parts.append(unpack(self._curve.tail))
        self.ready = concatenated(parts)
        self._after = int(self.ready.steps[-1])

    def take(self, step: int) -> Points:
        """What is ready up to a step, which is then taken."""
        count = int(np.searchsorted(self.ready.steps, step, side="right"))
        taken, self.ready = self.ready[:count], self.ready[count:]
        return taken


def _in_order(curves: Sequence[Curve]) -> Iterator[tuple[np.ndarray, Points]]:
    """All points by step and curve, in stretches, each point with its curve's number."""
    chunks = max(1, _POINTS_AT_ONCE // CHUNK // max(1, len(curves)))
    readers = [_Reader(one, chunks) for one in curves]
    while True:
        for one in readers:
            one.fill()
        ends = [int(one.ready.steps[-1]) for one in readers if len(one.ready)]
        if not ends:
            return
        open_ends = [int(one.ready.steps[-1]) for one in readers if not one.is_whole]
        parts = [one.take(min(open_ends, default=max(ends))) for one in readers]
        points = concatenated(parts)
        numbers = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
        order = np.lexsort((numbers, points.steps))
        yield numbers[order], Points(steps=points.steps[order], values=points.values[order])


def _names(run: Run) -> dict[str, str]:
    """Key in the names of metrics -> what people call it."""
    names = {batch_key(part.batch): str(part.batch) for part in run.mixture.select_related("batch")}
    if run.probe_set is not None:
        names[probe_key(run.probe_set)] = str(run.probe_set)
    return names
