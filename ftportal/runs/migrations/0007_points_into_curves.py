"""Points, a row each so far, into curves: packed in chunks, with what lists show beside them.

It writes the formats of `packing`, which stay. Whoever changes one gives this step the old one.
"""

from itertools import groupby, islice

import numpy as np
from django.db import migrations

from ftportal.runs.packing import CHUNK, MEAN_STEPS, blocks_of, pack, points_of

ROWS_AT_ONCE = 10_000
CHUNKS_AT_ONCE = 100


def points_pack(apps, schema_editor):
    rows = apps.get_model("runs", "Metric").objects.order_by("run", "name", "step")
    cells = rows.values_list("run", "name", "step", "value").iterator(chunk_size=ROWS_AT_ONCE)
    for (run, name), of_curve in groupby(cells, key=lambda row: row[:2]):
        curve = apps.get_model("runs", "Curve").objects.create(run_id=run, name=name, tail=b"")
        curve_fill(curve, ((step, value) for _, _, step, value in of_curve), apps)
        if name == "loss_nats":
            apps.get_model("runs", "Run").objects.filter(pk=run).update(loss_nats=curve.mean)


def curve_fill(curve, rows, apps):
    """All points but the newest, at most CHUNK, into chunks; the last one is always among those."""
    chunks = apps.get_model("runs", "CurveChunk").objects
    made, waiting, first = [], None, []
    while part := dict(islice(rows, CHUNK)):
        if waiting is not None:
            made.append(chunk_of(curve, waiting, chunks.model))
        waiting = points_of(part)
        known = waiting.known.tolist()
        curve.count += len(waiting)
        curve.known_count += len(known)
        first = [*first, *known][:MEAN_STEPS]
        if len(made) == CHUNKS_AT_ONCE:
            chunks.bulk_create(made)
            made = []
    chunks.bulk_create(made)
    curve.tail = pack(waiting)
    last = float(waiting.values[-1])
    curve.last_value = None if np.isnan(last) else last
    recent = [*curve.packed_recent, *waiting.known.tolist()][-MEAN_STEPS:]
    curve.last_known = recent[-1] if recent else None
    width = min(MEAN_STEPS, max(1, curve.known_count // 2))
    curve.mean = mean_of(recent)
    curve.first_half_mean, curve.last_half_mean = mean_of(first[:width]), mean_of(recent[-width:])
    curve.save()


def mean_of(values):
    mean = float(np.mean(values)) if values else np.nan
    return mean if np.isfinite(mean) else None


def chunk_of(curve, points, model):
    before, is_first = np.array(curve.packed_recent), curve.packed_step is None
    curve.packed_step = int(points.steps[-1])
    curve.packed_recent = [*curve.packed_recent, *points.known.tolist()][-MEAN_STEPS:]
    return model(
        curve=curve,
        first_step=int(points.steps[0]),
        blocks=blocks_of(points, before, is_first=is_first).tobytes(),
        data=pack(points),
    )


class Migration(migrations.Migration):

    dependencies = [("runs", "0006_curves")]

    operations = [migrations.RunPython(points_pack)]
