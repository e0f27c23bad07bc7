"""Curves longer than a chunk, and points that come twice, against a plain dictionary."""

import csv
import io
import random
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ftportal.dashboard.selectors.sessions import last_values, loss_ends
from ftportal.runs.curves import points_add
from ftportal.runs.export import metrics_rows
from ftportal.runs.metrics import (
    NOTHING,
    metric_lines,
    metric_names,
    metric_series,
    metric_smooth,
    summaries,
)
from ftportal.runs.models import Curve, CurveChunk, Run
from ftportal.runs.packing import CHUNK, MEAN_STEPS
from tests.ftportal.house import measure

pytestmark = pytest.mark.django_db
Truth = dict[int, float | None]


def means_of(truth: Truth) -> dict[int, float | None]:
    """Step -> mean of the last MEAN_STEPS known values; None where the value is missing."""
    known: list[float] = []
    means: dict[int, float | None] = {}
    for step in sorted(truth):
        value = truth[step]
        if value is not None:
            known = [*known[-(MEAN_STEPS - 1) :], value]
        means[step] = None if value is None else sum(known) / len(known)
    return means


def check(run: Run, truth: Truth) -> None:
    """Everything that is read of the loss says what the dictionary says."""
    steps = sorted(truth)
    known = [value for step in steps if (value := truth[step]) is not None]
    assert metric_series(run, "loss_nats", 10**6) == (steps, [truth[step] for step in steps])
    summary = summaries(run).get("loss_nats", NOTHING)
    assert (summary.count, summary.last) == (len(steps), truth[steps[-1]])
    last = known[-MEAN_STEPS:]
    run.refresh_from_db()
    assert summary.mean == run.loss_nats == pytest.approx(sum(last) / len(last))
    assert last_values([run.pk], "loss_nats") == {run.pk: known[-1]}
    width = min(MEAN_STEPS, max(1, len(known) // 2))
    ends = loss_ends([run.pk])[run.pk]
    assert ends.steps == len(known)
    assert ends.first_nats == pytest.approx(sum(known[:width]) / width)
    assert ends.last_nats == pytest.approx(sum(known[-width:]) / width)
    means = means_of(truth)
    for by_means in (False, True):  # so thin a line is drawn from blocks alone
        (line,) = metric_lines([run.pk], ["loss_nats"], 20, by_means=by_means).values()
        assert len(line.steps) <= 20
        assert (line.steps[0], line.steps[-1]) == (steps[0], steps[-1])
        assert line.means == pytest.approx([means[step] for step in line.steps])
        shown = means if by_means else truth
        wanted = [value for value in shown.values() if value is not None]
        drawn = [
            value for value in (line.means if by_means else line.measured) if value is not None
        ]
        assert (min(drawn), max(drawn)) == pytest.approx((min(wanted), max(wanted)))
        if not by_means:
            assert line.measured == [truth[step] for step in line.steps]
    chunks = list(CurveChunk.objects.filter(curve__run=run).order_by("first_step"))
    assert all(len(chunk.data) < 9 * CHUNK for chunk in chunks)


def noise(draw: random.Random) -> float | None:
    return None if draw.random() < 0.05 else draw.gauss(2, 1)


@pytest.mark.parametrize("batch", [1, 7, 400, 5000])
def test_points_that_come_in_order(submit: Callable[..., Run], batch: int) -> None:
    run, draw = submit(), random.Random(batch)
    truth = {step: noise(draw) for step in range(1, 60 if batch == 1 else 5001)}
    for start in range(1, len(truth) + 1, batch):
        measure(run, {at: truth[at] for at in range(start, start + batch) if at in truth})
    check(run, truth)


def test_a_short_run_that_starts_again_forgets_its_first_losses(submit: Callable[..., Run]) -> None:
    run = submit()
    truth: Truth = dict.fromkeys(range(1, 201), 3.0)
    measure(run, truth)
    again: Truth = {step: 1.0 + step for step in range(3, 40)}
    measure(run, again)
    check(run, truth | again)


@pytest.mark.parametrize("seed", range(6))
def test_workers_that_were_killed_measure_steps_again(
    submit: Callable[..., Run], seed: int
) -> None:
    """Each goes on from an earlier step than the last one came to, some with other steps."""
    run, draw = submit(), random.Random(seed)
    truth: Truth = {}
    at = draw.choice([0, 500])
    for _ in range(12):
        stride, end = draw.choice([1, 1, 3]), at + draw.choice([30, 900, 3000])
        for start in range(at, end, 500 * stride):
            part = {
                one: noise(draw) for one in range(start, min(end, start + 500 * stride), stride)
            }
            measure(run, part)
            truth |= part
        at = draw.randrange(max(0, end - 4000), end)
    check(run, truth)


def test_a_step_before_the_first_chunk_and_a_long_gap(submit: Callable[..., Run]) -> None:
    run = submit()
    truth: Truth = {step: float(step % 13) for step in range(100, 100 + 3 * CHUNK)}
    measure(run, truth)
    gap: Truth = dict.fromkeys(range(100 + CHUNK - 5, 100 + 2 * CHUNK + 20))
    for again in ({7: 99.0}, gap, {100 + CHUNK - 6: -50.0}):
        measure(run, again)
        truth |= again
        check(run, truth)


def test_lines_take_as_many_queries_for_many_as_for_one(submit: Callable[..., Run]) -> None:
    runs = [submit(f"Run {number}") for number in range(4)]
    for run in runs:
        for name in ("a", "b", "c"):
            points_add(run, {name: {step: float(step) for step in range(3000)}})
    counts = []
    for keys, names in (([runs[0].pk], ["a"]), ([run.pk for run in runs], ["a", "b", "c", "d"])):
        with CaptureQueriesContext(connection) as queries:
            assert len(metric_lines(keys, names, 50)) == len(keys) * min(3, len(names))
        counts.append(len(queries))
    assert counts == [2, 2]


def test_the_table_has_every_point_in_order(submit: Callable[..., Run]) -> None:
    run, draw = submit(), random.Random(3)
    truth: dict[str, Truth] = {
        "loss_nats": {step: noise(draw) for step in range(1, 3 * CHUNK)},
        "displacement": {step: noise(draw) for step in range(0, 3 * CHUNK, 50)},
        "sharpness": {5: 1.0},
        "late": {step: noise(draw) for step in range(2 * CHUNK, 5 * CHUNK, 2)},
    }
    points_add(run, truth)
    assert metric_names(run) == sorted(truth)
    rows = list(csv.reader(io.StringIO("".join(metrics_rows(run)), newline="")))
    assert rows[0] == ["step", "metric", "about", "value"]
    expected = sorted((step, name) for name, values in truth.items() for step in values)
    assert [(int(step), name) for step, name, *_ in rows[1:]] == expected
    for step, name, about, value in rows[1:]:
        assert about == ""
        assert (float(value) if value else None) == truth[name][int(step)]


def test_a_curve_that_grows_while_it_is_read_has_no_step_twice(submit: Callable[..., Run]) -> None:
    run = submit()
    points_add(run, {"a": dict.fromkeys(range(200), 1.0)})
    rows = metrics_rows(run)
    next(rows)
    before = Curve.objects.get(run=run)
    lines = [next(rows)]
    points_add(run, {"a": dict.fromkeys(range(200, 200 + 2 * CHUNK), 1.0)})
    lines += rows
    steps = [int(line.split(",")[0]) for line in "".join(lines).splitlines()]
    assert steps == list(range(before.count))


def test_a_smooth_line_of_nothing(submit: Callable[..., Run]) -> None:
    assert metric_smooth(submit(), "loss_nats").steps == []
