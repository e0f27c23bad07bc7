"""Real Celery workers over a real Redis and a database file, killed for real."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from ftportal.jobs import doorbell, registry
from ftportal.jobs.models import Job, JobState, Outcome
from ftportal.jobs.services import job_resume, job_stop, job_submit
from ftportal.jobs.sweeping import sweep
from tests.engines.apps import CountingConfig
from tests.ftportal.jobs.processes import Portal, database_at, is_alive, wait_for


@pytest.fixture(scope="session")
def migrated_file(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[Path]:
    """A database file with all tables."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    with django_db_blocker.unblock(), database_at(path):
        call_command("migrate", verbosity=0)
    yield path


@pytest.fixture
def portal(
    migrated_file: Path,
    data_dir: Path,
    settings: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Portal]:
    """A portal with Redis and no worker yet; this test shares its database and its broker."""
    (data_dir / "db.sqlite3").write_bytes(migrated_file.read_bytes())
    settings.FTPORTAL_LEASE_SECONDS = 3
    monkeypatch.setattr(registry, "_kinds", {})
    CountingConfig.ready(None)  # type: ignore[arg-type]
    portal = Portal(data_dir)
    monkeypatch.setattr(doorbell, "app", portal.celery)
    with django_db_blocker.unblock(), database_at(data_dir / "db.sqlite3"):
        portal.redis_start()
        try:
            yield portal
        finally:
            portal.close()


@pytest.fixture
def submit(portal: Portal) -> Callable[..., Job]:
    """`submit(steps=...)`: a queued job whose engine counts."""

    def submit(kind: str = "count", **config: Any) -> Job:
        job = Job(kind=kind)
        job = job_submit(kind=kind, title=f"A job that is to {kind}", created_by=None)
        portal.tell(job, config)
        return job

    return submit


def fresh(job: Job) -> Job:
    """The job as the database has it."""
    return Job.objects.get(pk=job.pk)


def saved(job: Job) -> Callable[[], bool]:
    """Whether a resumable state is recorded."""
    return lambda: bool(fresh(job).resume_state)


def test_a_killed_workers_run_is_finished_once_from_its_last_state(
    portal: Portal, submit: Callable[..., Job], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    job = submit(steps=60, step_seconds=0.05, save_every_steps=10, journal=str(journal))
    worker = portal.worker_start("one")
    wait_for(saved(job), why="a saved state")
    engine = fresh(job).attempts.get().engine_pid
    assert is_alive(engine)
    portal.kill(worker)
    wait_for(lambda: not is_alive(engine), seconds=3, why="the engine's death with its worker")
    assert fresh(job).state == JobState.RUNNING, "until its lease ends"

    portal.worker_start("two")
    wait_for(lambda: sweep() or fresh(job).fence == 2, seconds=15, why="a second attempt")
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
    assert portal.messages_waiting("train") == 7, "a busy worker reserves no message"
    wait_for(lambda: fresh(waiting).is_settled, why="the last")
    wait_for(lambda: portal.messages_waiting("train") == 0, why="the duplicates")
    assert fresh(running).fence == fresh(waiting).fence == fresh(measured).fence == 1
    assert fresh(measured).started_at < fresh(waiting).started_at
    assert len(journal.read_text().splitlines()) == 3
    assert portal.lines(waiting, ".finished") == ["succeeded"]
    portal.kill(worker)


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
    wait_for(lambda: (fresh(job).progress_done or 0) > stopped.progress_done, why="more steps")
    engine = fresh(job).attempts.get(fence=2).engine_pid
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
