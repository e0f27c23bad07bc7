"""Real Celery workers over a real Redis and a database file, killed for real."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ftportal.jobs.models import Job, JobState, Outcome
from ftportal.jobs.services import job_resume, job_stop
from ftportal.jobs.sweeping import sweep
from tests.ftportal.jobs.processes import Portal, engine_of, fresh, is_alive, swept, wait_for


def saved(job: Job) -> Callable[[], bool]:
    """Whether a resumable state is recorded."""
    return lambda: bool(fresh(job).resume_state)


@pytest.mark.slow
def test_a_killed_workers_run_is_finished_once_from_its_last_state(
    portal: Portal, submit: Callable[..., Job], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    job = submit(steps=60, step_seconds=0.05, save_every_steps=10, journal=str(journal))
    worker = portal.worker_start("one")
    wait_for(saved(job), why="a saved state")
    engine = engine_of(job)
    assert is_alive(engine)
    portal.kill(worker)
    wait_for(lambda: not is_alive(engine), seconds=3, why="the engine's death with its worker")
    assert fresh(job).state == JobState.RUNNING, "until its lease ends"

    portal.worker_start("two")
    wait_for(swept(job, fence=2), seconds=15, why="a second attempt")
    wait_for(lambda: fresh(job).is_settled, why="the end")
    done = fresh(job)
    assert done.state == JobState.SUCCEEDED
    assert (done.output_directory / "sum.txt").read_text() == str(sum(range(61)))
    assert [attempt.outcome for attempt in done.attempts.all()] == [Outcome.LOST, Outcome.DONE]
    assert portal.lines(job, ".finished") == ["succeeded"]
    steps = [line.split() for line in journal.read_text().splitlines()]
    second = [int(step) for attempt, step in steps if attempt == "2"]
    first = [int(step) for attempt, step in steps if attempt == "1"]
    assert second == list(range(second[0], 61)) and second[0] % 10 == 1 and second[0] > 1
    assert second[0] - 1 <= first[-1] < second[0] + 10, "from the last state, not an older one"
    assert {int(step) for step in portal.lines(job, ".metrics")} == set(range(1, 61))


@pytest.mark.slow
def test_duplicate_messages_are_free_and_evaluations_go_first(
    portal: Portal, submit: Callable[..., Job], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    running = submit(steps=40, step_seconds=0.05)
    worker = portal.worker_start()
    wait_for(lambda: fresh(running).state == JobState.RUNNING, why="the first")
    waiting = submit(steps=3, journal=str(journal))
    for _ in range(3):
        portal.celery.send_task("jobs.work", args=[str(waiting.pk)], queue="train")
        portal.celery.send_task("jobs.work", args=[str(running.pk)], queue="train")
    measured = submit("measure", steps=3)
    assert portal.messages_waiting("train") >= 7, "a busy worker reserves no message"
    wait_for(lambda: fresh(waiting).is_settled, why="the last")
    wait_for(lambda: portal.messages_waiting("train") == 0, why="the duplicates")
    assert fresh(running).fence == fresh(waiting).fence == fresh(measured).fence == 1
    began = Job.objects.order_by("started_at").values_list("pk", flat=True)
    assert list(began) == [running.pk, measured.pk, waiting.pk]
    assert len(journal.read_text().splitlines()) == 3
    assert portal.lines(waiting, ".finished") == ["succeeded"]
    portal.kill(worker)


@pytest.mark.slow
def test_stop_by_a_person_resume_and_an_orderly_end_of_the_worker(
    portal: Portal, submit: Callable[..., Job]
) -> None:
    job = submit(steps=80, step_seconds=0.05, save_every_steps=1000)
    worker = portal.worker_start("one")
    wait_for(lambda: fresh(job).progress_done, why="progress")
    job_stop(job=fresh(job))
    wait_for(lambda: fresh(job).is_settled, why="the stop")
    stopped = fresh(job)
    assert stopped.state == JobState.CANCELLED and stopped.resume_state
    assert portal.lines(job, ".finished") == ["cancelled"]

    job_resume(job=stopped)
    wait_for(lambda: fresh(job).state == JobState.RUNNING, why="the second attempt")
    before = stopped.progress_done or 0
    wait_for(lambda: (fresh(job).progress_done or 0) > before, why="more steps")
    engine = engine_of(job, fence=2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    returned = fresh(job)
    assert not is_alive(engine)
    assert (returned.state, returned.attempts_left, returned.lease_until) == ("queued", 3, None)
    assert returned.resume_state.startswith("attempts/2/"), "it saved before it ended"

    portal.redis_flush()
    type(job).objects.update(rung_at=returned.created_at.replace(year=2020))
    portal.worker_start("two")
    sweep()
    wait_for(lambda: fresh(job).is_settled, why="the end, rung for by the sweeper")
    assert (fresh(job).output_directory / "sum.txt").read_text() == str(sum(range(81)))
    assert portal.lines(job, ".finished") == ["cancelled", "succeeded"]
    steps = [int(step) for step in portal.lines(job, ".metrics")]
    assert steps == list(range(1, 81)), "each step once, in order, over three attempts"
