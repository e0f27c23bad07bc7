"""A real run: the engine trains the tiny model, and the portal shows and keeps what came out."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from engine.manifest import manifest_check
from ftportal.jobs.models import JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.runs.metrics import metric_names, metric_series
from ftportal.runs.models import Run
from tests.ftportal.jobs.processes import is_alive, processes_with, wait_for


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_run_trains_and_leaves_a_checkpoint(submit: Callable[..., Run]) -> None:
    run = submit("Monday", learning_rate=1e-2, max_steps=6)
    job = job_run_now(run.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    run = Run.objects.get(pk=run.pk)
    assert run.output is not None
    manifest_check(run.output.directory)
    assert run.output.displacement_pretrained == pytest.approx(run.summary["displacement"])
    steps, losses = metric_series(run, "loss_nats")
    assert steps == [1, 2, 3, 4, 5, 6]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]
    assert "loss_nats/kind/conversation" in metric_names(run)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_run_that_diverges_is_marked_and_keeps_its_curve(submit: Callable[..., Run]) -> None:
    run = submit("Monday", learning_rate=1e30, max_steps=8, max_gradient_norm=None)
    job_run_now(run.job)
    run = Run.objects.get(pk=run.pk)
    assert run.state == "diverged"
    assert run.job.error_where.startswith("step")
    assert run.output is None
    steps, losses = metric_series(run, "loss_nats")
    assert steps[0] == 1
    assert losses[0] is not None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_process_of_two_ends_the_attempt_and_leaves_none(
    submit: Callable[..., Run],
) -> None:
    """Each is in the engine's group; the one that is killed is the cause, not what follows."""
    run = submit("Monday", max_steps=500, epochs=500, ranks={"processes": 2}, examples_per_step=2)
    seen: dict[int, str] = {}

    def kill() -> None:
        wait_for(lambda: list(run.job.directory.glob("attempts/*/events.jsonl")), seconds=60)
        events = run.job.directory / "attempts/1/events.jsonl"
        wait_for(lambda: b'"metric"' in events.read_bytes(), seconds=120)
        seen.update(processes_with(str(run.job.directory)))
        (victim,) = (pid for pid, command in seen.items() if '"rank": 1' in command)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    job = job_run_now(run.job)
    killer.join()
    assert len(seen) == 3, "the launcher and two ranks"
    assert not any(is_alive(pid) for pid in seen)
    assert job.state == JobState.QUEUED
    assert "process 2 of 2 was killed (SIGKILL), most often because memory ran out" in (
        job.error_message
    )
    assert job.attempts.get().exit_code == 137
