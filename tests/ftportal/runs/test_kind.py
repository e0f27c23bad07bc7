"""Events of the engine, and what follows its end."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.events import Caution, Done
from engine.events import Metric as Measured
from engine.manifest import manifest_write
from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import JobState
from ftportal.runs.kind import run_events, run_finished, run_sweep
from ftportal.runs.metrics import metric_names, metric_series
from ftportal.runs.models import Run
from ftportal.runs.signals import run_succeeded

pytestmark = pytest.mark.django_db


def _metric(step: int, **values: float | None) -> Measured:
    return Measured(step=step, values=values)


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """The runs that were announced; announcing raises while `heard` holds "fail"."""
    runs: list[Any] = []

    def listen(run: Run, **_: Any) -> None:
        if "fail" in runs:
            raise OSError("the floor above fails")
        runs.append(run)

    run_succeeded.connect(listen, weak=False, dispatch_uid="heard")
    yield runs
    run_succeeded.disconnect(dispatch_uid="heard")


@pytest.fixture
def finished(submit: Callable[..., Run], tiny_model_directory: Path) -> Callable[[str, bytes], Run]:
    """`finished("Session", b"weights")`: the engine has left an output; the portal did nothing."""

    def make(name: str, marker: bytes) -> Run:
        run = submit(name)
        output = run.job.output_directory
        output.parent.mkdir(parents=True)
        shutil.copytree(tiny_model_directory, output)
        (output / "marker.txt").write_bytes(marker)
        manifest_write(output)
        run.job.state = JobState.SUCCEEDED
        run.job.save()
        run_events(run.job, [Done(summary={"displacement_pretrained": 1.5})])
        return run

    return make


def test_metrics_are_stored_and_a_repeated_step_replaces_them(submit: Callable[..., Run]) -> None:
    run = submit()
    run_events(run.job, [_metric(1, loss_nats=2.0), _metric(2, loss_nats=1.5, gradient_norm=3)])
    run_events(run.job, [_metric(2, loss_nats=1.4), _metric(3, loss_nats=1.0)])
    assert metric_series(run, "loss_nats") == ([1, 2, 3], [2.0, 1.4, 1.0])
    assert metric_names(run) == ["gradient_norm", "loss_nats"]


def test_a_step_twice_in_one_reading_keeps_the_last(submit: Callable[..., Run]) -> None:
    run = submit()
    run_events(run.job, [_metric(1, loss_nats=2.0), _metric(1, loss_nats=1.9)])
    assert metric_series(run, "loss_nats") == ([1], [1.9])


def test_what_was_not_finite_is_stored_as_missing(submit: Callable[..., Run]) -> None:
    run = submit()
    run_events(run.job, [_metric(1, loss_nats=None)])
    assert metric_series(run, "loss_nats") == ([1], [None])


def test_warnings_are_kept_once_each(submit: Callable[..., Run]) -> None:
    run = submit()
    warning = Caution(where="batches", message="Two were left out.")
    run_events(run.job, [warning, warning])
    run_events(run.job, [warning])
    run.refresh_from_db()
    assert run.warnings == [{"where": "batches", "message": "Two were left out."}]


def test_an_ended_run_leaves_its_checkpoint_once(
    finished: Callable[..., Run], heard: list[Run], parent: Checkpoint
) -> None:
    run = finished("Monday", b"one")
    run_finished(run.job)
    run_finished(run.job)
    run.refresh_from_db()
    assert run.output is not None
    assert run.output.name == "Monday"
    assert run.output.parent == parent
    assert run.output.displacement_pretrained == 1.5
    assert run.output.directory.is_dir()
    assert Checkpoint.objects.count() == 2
    assert heard == [run, run], "announced again: listeners are idempotent"


def test_a_crash_after_the_move_is_made_good(finished: Callable[..., Run]) -> None:
    run = finished("Monday", b"one")
    run_finished(run.job)
    Run.objects.filter(pk=run.pk).update(output=None)
    run_finished(run.job)
    run.refresh_from_db()
    assert run.output is not None
    assert Checkpoint.objects.count() == 2


def test_a_listener_that_fails_is_told_again(
    finished: Callable[..., Run], heard: list[Any]
) -> None:
    run = finished("Monday", b"one")
    heard.append("fail")
    with pytest.raises(OSError, match="floor above"):
        run_finished(run.job)
    heard.clear()
    run_finished(run.job)
    assert heard == [run]


def test_the_same_weights_again_are_no_second_checkpoint(
    finished: Callable[..., Run], heard: list[Run]
) -> None:
    first, second = finished("Monday", b"one"), finished("Tuesday", b"one")
    run_finished(first.job)
    run_finished(second.job)
    run_finished(second.job)
    first.refresh_from_db()
    second.refresh_from_db()
    assert second.output is None
    assert second.same_as == first.output
    assert heard == [first]


def test_the_sweep_finds_a_run_without_its_checkpoint(finished: Callable[..., Run]) -> None:
    run = finished("Monday", b"one")
    run.job.finish_handled = True
    run.job.save()
    run_sweep()
    run.refresh_from_db()
    assert run.output is not None


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_did_not_end_well_leaves_nothing(
    ended: Callable[..., Run], heard: list[Run], state: str
) -> None:
    run = ended(state)
    run_events(run.job, [_metric(1, loss_nats=2.0)])
    run_finished(run.job)
    run.refresh_from_db()
    assert run.output is None
    assert heard == []
    assert metric_series(run, "loss_nats") == ([1], [2.0]), "its curve is kept"
