"""What a run measures, as it arrives: points into the newest part of their curves, then in chunks.

Called within the transaction that holds the run's job, so nobody else writes the same curves. A
step that is measured again, by a worker that went on from an earlier state, replaces its value,
wherever it lies.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ftportal.runs.models import Curve, CurveChunk, Run
from ftportal.runs.packing import (
    CHUNK,
    MEAN_STEPS,
    NO_POINTS,
    Floats,
    Points,
    blocks_of,
    concatenated,
    pack,
    points_of,
    unpack,
)

NAME_CHARACTERS = 120
Measured = Mapping[str, Mapping[int, float | None]]
"""Name of a metric -> step -> value; None where it was not finite."""


def points_add(run: Run, measured: Measured) -> None:
    """Keep what was measured, and what lists show of it."""
    curves = {one.name: one for one in Curve.objects.filter(run=run, name__in=measured)}
    for name, values in measured.items():
        curve = curves.get(name) or Curve(run=run, name=name, tail=pack(NO_POINTS))
        curve_extend(curve, points_of(values))
        if name == "loss_nats":
            Run.objects.filter(pk=run.pk).update(loss_nats=curve.mean)


def mean_of(values: Iterable[float]) -> float | None:
    """Their mean; None where there are none, or no number holds it."""
    known = list(values)
    mean = float(np.mean(known)) if known else np.nan
    return mean if np.isfinite(mean) else None


def curve_extend(curve: Curve, points: Points) -> None:
    """Put points, at least one, into a curve and save it."""
    tail = unpack(curve.tail)
    packed = -1 if curve.packed_step is None else curve.packed_step
    repeated, new = points[points.steps <= packed], points[points.steps > packed]
    begins = curve.known_count < 2 * MEAN_STEPS or len(curve.packed_recent) < MEAN_STEPS
    if len(repeated):
        _chunks_replace(curve, repeated)
    merged = tail.merged(new)
    _count(curve, tail, merged)
    packs = []
    while len(merged) > CHUNK:  # so the last point is never packed, and the tail never empty
        packs.append(_pack_next(curve, merged[:CHUNK]))
        merged = merged[CHUNK:]
    if packs:
        if curve.pk is None:
            curve.save()
        CurveChunk.objects.bulk_create(packs)
    curve.tail = pack(merged)
    _summarise(curve, merged, begins=begins or len(repeated) > 0)
    curve.save()


def _summarise(curve: Curve, tail: Points, *, begins: bool) -> None:
    """What lists say of the curve; of its beginning only where that may have changed (`begins`)."""
    recent = _last([*curve.packed_recent, *tail.known.tolist()])
    width = min(MEAN_STEPS, max(1, curve.known_count // 2))
    curve.last_value = None if np.isnan(tail.values[-1]) else float(tail.values[-1])
    curve.last_known = recent[-1] if recent else None
    curve.mean, curve.last_half_mean = mean_of(recent), mean_of(recent[-width:])
    if begins:
        curve.first_half_mean = mean_of(_first_known(curve, tail)[:width])


def _count(curve: Curve, before: Points, after: Points) -> None:
    curve.count += len(after) - len(before)
    curve.known_count += len(after.known) - len(before.known)


def _last(values: list[float]) -> list[float]:
    return values[-MEAN_STEPS:]


def _pack_next(curve: Curve, points: Points) -> CurveChunk:
    """The chunk of these points, which follow what is packed."""
    chunk = _chunk(curve, points, np.array(curve.packed_recent), curve.packed_step is None)
    curve.packed_step = int(points.steps[-1])
    curve.packed_recent = _last([*curve.packed_recent, *points.known.tolist()])
    return chunk


def _chunk(curve: Curve, points: Points, before: Floats, is_first: bool) -> CurveChunk:
    return CurveChunk(
        curve=curve,
        first_step=int(points.steps[0]),
        blocks=blocks_of(points, before, is_first=is_first).tobytes(),
        data=pack(points),
    )


def _chunks_replace(curve: Curve, points: Points) -> None:
    """Put points among those that are packed already."""
    low, high = int(points.steps[0]), int(points.steps[-1])
    chunks = CurveChunk.objects.filter(curve=curve).order_by("first_step")
    start = chunks.filter(first_step__lte=low).last() or chunks.first()
    if start is None:
        raise LookupError(f"{curve} has lost its chunks")
    touched = chunks.filter(first_step__gte=start.first_step, first_step__lte=high)
    parts = list(touched) or [start]
    old = concatenated([unpack(one.data) for one in parts])
    new = old.merged(points)
    _count(curve, old, new)
    CurveChunk.objects.filter(pk__in=[one.pk for one in parts]).delete()
    before = _known_before(curve, int(new.steps[0]))
    is_first = not chunks.filter(first_step__lt=new.steps[0]).exists()
    made = []
    for piece in new.pieces(CHUNK):
        made.append(_chunk(curve, piece, before, is_first))
        before, is_first = np.concatenate([before, piece.known])[-MEAN_STEPS:], False
    CurveChunk.objects.bulk_create(made)
    _means_renew(curve, int(new.steps[-1]), before)
    curve.packed_recent = _known_before(curve, None).tolist()


def _means_renew(curve: Curve, step: int, before: Floats) -> None:
    """The blocks of the chunks after a step whose means go back beyond it."""
    later = CurveChunk.objects.filter(curve=curve, first_step__gt=step).order_by("first_step")
    for chunk in later.iterator(chunk_size=4):
        points = unpack(chunk.data)
        chunk.blocks = blocks_of(points, before).tobytes()
        chunk.save(update_fields=["blocks"])
        if len(points.known) >= MEAN_STEPS - 1:
            return
        before = np.concatenate([before, points.known])[-MEAN_STEPS:]


def _known_before(curve: Curve, step: int | None) -> Floats:
    """The last MEAN_STEPS known values that are packed and come before a step; None: all do."""
    chunks = CurveChunk.objects.filter(curve=curve).order_by("-first_step")
    if step is not None:
        chunks = chunks.filter(first_step__lt=step)
    known = NO_POINTS.values
    for data in chunks.values_list("data", flat=True).iterator(chunk_size=4):
        known = np.concatenate([unpack(data).known, known])[-MEAN_STEPS:]
        if len(known) == MEAN_STEPS:
            break
    return known


def _first_known(curve: Curve, tail: Points) -> list[float]:
    known: list[float] = []
    if curve.packed_step is not None:
        chunks = CurveChunk.objects.filter(curve=curve).order_by("first_step")
        for data in chunks.values_list("data", flat=True).iterator(chunk_size=4):
            known += unpack(data).known[:MEAN_STEPS].tolist()
            if len(known) >= MEAN_STEPS:
                break
    return [*known, *tail.known[:MEAN_STEPS].tolist()][:MEAN_STEPS]
