"""One attempt with a real engine process, seen through in this process."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from engine.events import Caution, Event
from ftportal.jobs import registry
from ftportal.jobs.engine import engine_environment
from ftportal.jobs.models import Job, JobState, Outcome
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.services import job_resume, job_stop
from ftportal.jobs.supervisor import job_run_now, job_work
from tests.ftportal.jobs.processes import engine_of, is_alive

pytestmark = pytest.mark.slow


def test_it_runs_an_engine_to_its_end(job: Job, counting: Any) -> None:
    done = job_run_now(job)
    assert done.state == JobState.SUCCEEDED
    assert (done.output_directory / "sum.txt").read_text() == "55"
    assert (done.progress_done, done.progress_total, done.progress_unit) == (10, 10, "steps")
    assert done.phase == "Counting"
    assert done.finish_handled and counting.finished == ["succeeded"]
    assert counting.steps() == list(range(1, 11))
    assert done.is_settled and done.exit_code == 0 and done.started_at and done.finished_at
    attempt = done.attempts.get()
    assert attempt.outcome == Outcome.DONE and attempt.exit_code == 0
    assert not is_alive(engine_of(job))


def test_it_removes_resumable_states_when_all_is_done(job: Job) -> None:
    done = job_run_now(job)
    assert done.resume_state
    assert not list(done.directory.glob("attempts/*/trainer"))


def test_it_gives_the_engine_none_of_the_portals_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://name:password@host/db")
    names = engine_environment()
    assert "PATH" in names
    assert not [name for name in names if name.startswith(("FTPORTAL_", "DATABASE", "DJANGO_"))]


def test_a_job_that_is_not_queued_is_not_run(job: Job) -> None:
    job_run_now(job)
    assert job_work(job_id=job.pk) is None
    with pytest.raises(LookupError):
        job_run_now(job)


def test_bad_input_is_final(job: Job, counting: Any) -> None:
    counting.config = {"steps": 10, "exit_at": {"3": 2}}
    failed = job_run_now(job)
    assert failed.state == JobState.FAILED
    assert failed.attempts_left == 2 and failed.exit_code == 2
    assert failed.error_where == "step 3"
    assert failed.error_message == "This number is wrong."
    assert failed.error_cure == "Take another."
    assert counting.finished == ["failed"]


def test_a_crash_is_tried_again_from_the_last_state_until_attempts_are_used_up(
    job: Job, counting: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    counting.config = {"steps": 20, "exit_at": {"7": 1}, "journal": str(journal)}
    first = job_run_now(job)
    assert first.state == JobState.QUEUED and first.attempts_left == 2
    assert "exit code 1" in first.error_message
    assert "Giving up at step 7" in first.error_message
    assert first.resume_state == "attempts/1/trainer/state-5"
    assert counting.finished == []
    job_run_now(job)
    last = job_run_now(job)
    assert last.state == JobState.FAILED and last.attempts_left == 0
    assert counting.finished == ["failed"]
    steps = [line.split() for line in journal.read_text().splitlines()]
    assert [step for attempt, step in steps if attempt == "3"] == ["6", "7"]


def test_an_engine_that_is_killed_says_that_memory_may_have_run_out(
    job: Job, counting: Any
) -> None:
    counting.config = {"steps": 5, "exit_at": {"2": -9}}
    assert "memory" in job_run_now(job).error_message


def test_a_refused_configuration_fails_before_an_engine_starts(job: Job, counting: Any) -> None:
    def refuse(job: Job) -> dict[str, Any]:
        raise JobRefusedError("parent", "The parent was deleted.", "Choose another.")

    registry.register(replace(counting.kind(), config=refuse))
    failed = job_run_now(job)
    assert (failed.state, failed.error_where) == (JobState.FAILED, "parent")
    assert failed.error_message == "The parent was deleted."
    assert not failed.attempt_directory.exists()


def test_a_person_stops_it_and_it_resumes_from_the_saved_state(
    job: Job, counting: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    counting.config = {
        "steps": 30, "step_seconds": 0.05, "save_every_steps": 100, "journal": str(journal)
    }  # fmt: skip
    counting.on_events = lambda job, events: job_stop(job=Job.objects.get(pk=job.pk)) and None
    stopped = job_run_now(job)
    assert stopped.state == JobState.CANCELLED
    assert stopped.attempts.get().outcome == Outcome.STOPPED
    assert counting.finished == ["cancelled"]
    assert stopped.resume_state.startswith("attempts/1/trainer/state-")

    counting.on_events = lambda job, events: None
    queued = job_resume(job=stopped)
    assert queued.state == JobState.QUEUED and queued.attempts_left == 3
    assert not queued.finish_handled
    done = job_run_now(queued)
    assert done.state == JobState.SUCCEEDED
    assert (done.output_directory / "sum.txt").read_text() == str(sum(range(31)))
    steps = [int(line.split()[1]) for line in journal.read_text().splitlines()]
    assert steps == list(range(1, 31)), "every step was done once"
    assert counting.steps() == list(range(1, 31))


def test_an_engine_that_does_not_stop_is_killed_after_a_while(
    job: Job, counting: Any, settings: Any
) -> None:
    settings.FTPORTAL_SAVE_SECONDS = 1
    counting.config = {"steps": 1000, "step_seconds": 0.05, "ignore_stop": True}
    counting.on_events = lambda job, events: job_stop(job=Job.objects.get(pk=job.pk)) and None
    stopped = job_run_now(job)
    assert stopped.state == JobState.CANCELLED and stopped.exit_code == -9


def test_a_worker_that_stops_gives_the_job_back_uncounted(job: Job, counting: Any) -> None:
    counting.config = {"steps": 1000, "step_seconds": 0.05}
    back = job_work(job_id=job.pk, worker_stops=lambda: bool(counting.events))
    assert back is not None
    assert back.state == JobState.QUEUED and back.attempts_left == 3
    assert back.lease_until is None and back.resume_state
    assert back.attempts.get().outcome == Outcome.RETURNED


def test_a_stale_attempt_writes_nothing_more_and_its_engine_dies(job: Job, counting: Any) -> None:
    counting.config = {"steps": 1000, "step_seconds": 0.05}

    def another_claims(job: Job, events: list[Event]) -> None:
        Job.objects.filter(pk=job.pk).update(fence=F("fence") + 1, phase="Another's")

    counting.on_events = another_claims
    assert job_work(job_id=job.pk) is None
    job.refresh_from_db()
    assert (job.fence, job.phase, job.state) == (2, "Another's", JobState.RUNNING)
    assert not is_alive(engine_of(job, fence=1))
    assert counting.finished == []


@pytest.mark.slow
def test_the_lease_is_renewed_while_the_engine_works(
    job: Job, counting: Any, settings: Any
) -> None:
    settings.FTPORTAL_LEASE_SECONDS = 2
    counting.config = {"steps": 60, "step_seconds": 0.06}
    assert job_run_now(job).state == JobState.SUCCEEDED


def test_the_engine_is_killed_when_the_lease_cannot_be_renewed(
    job: Job, counting: Any, settings: Any, tmp_path: Path
) -> None:
    settings.FTPORTAL_LEASE_SECONDS = 2
    journal = tmp_path / "journal"
    counting.config = {"steps": 1000, "step_seconds": 0.05, "journal": str(journal)}
    seen: dict[str, Any] = {}

    def hang(job: Job, events: list[Event]) -> None:
        pid = engine_of(job)
        deadline = time.monotonic() + 4
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        lease_is_over = not Job.objects.filter(pk=job.pk, lease_until__gt=Now()).exists()
        seen.update(alive=is_alive(pid), lease_is_over=lease_is_over)

    counting.on_events = hang
    after = job_work(job_id=job.pk)
    assert seen == {"alive": False, "lease_is_over": False}
    assert after is not None and after.state == JobState.RUNNING, "the reaper's business now"
    assert counting.finished == []


def test_events_that_nobody_read_are_recorded_by_the_next_attempt(job: Job, counting: Any) -> None:
    counting.config = {"steps": 20, "exit_at": {"12": 1}}
    job_run_now(job)
    first = job.attempts.get()
    lines = (job.directory / "attempts/1/events.jsonl").read_bytes().splitlines(keepends=True)
    third = len(b"".join(lines[:3]))
    type(first).objects.update(events_offset_bytes=third)
    Job.objects.update(resume_state="")
    counting.events.clear()
    job_run_now(Job.objects.get())
    assert counting.steps() == [*range(3, 13), 11, 12], "the unread ones, then those from the state"


def test_a_line_that_is_not_an_event_is_told(
    job: Job, counting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    counting.config = {"steps": 4, "exit_at": {"2": 1}}
    job_run_now(job)
    with (job.directory / "attempts/1/events.jsonl").open("ab") as file:
        file.write(b'{"event": "metric", "step": "three"}\n')
    counting.events.clear()
    job_run_now(Job.objects.get())
    (told,) = [one for one in counting.events if isinstance(one, Caution)]
    assert "not understood" in told.message and '"step": "three"' in told.message
    assert told.message in caplog.text and str(job.attempts.first()) in caplog.text
    assert counting.steps() == [1, 2], "the next attempt's steps are recorded all the same"


def test_thousands_of_events_arrive_in_batches(job: Job, counting: Any) -> None:
    counting.config = {"steps": 10, "step_seconds": 0, "metrics_per_step": 300}
    batches: list[int] = []
    counting.on_events = lambda job, events: batches.append(len(events))
    job_run_now(job)
    assert len(counting.steps()) == 3000
    assert max(batches) < 1000


def test_the_engine_gives_way_to_the_web_server(job: Job, counting: Any) -> None:
    seen: list[int] = []
    counting.config = {"steps": 20, "step_seconds": 0.1}

    def look(job: Job, events: list[Event]) -> None:
        if not seen:
            seen.append(os.getpriority(os.PRIO_PROCESS, engine_of(job)))

    counting.on_events = look
    job_run_now(job)
    assert seen[0] > os.getpriority(os.PRIO_PROCESS, 0)


def test_an_app_that_cannot_record_events_ends_the_attempt(job: Job, counting: Any) -> None:
    def fail(job: Job, events: list[Event]) -> None:
        raise ValueError("no such run")

    counting.on_events = fail
    with pytest.raises(ValueError, match="no such run"):
        job_run_now(job)
    queued = job_work(job_id=job.pk)
    assert queued is not None and queued.state == JobState.QUEUED and queued.attempts_left == 1
    failed = job_work(job_id=job.pk)
    assert failed is not None and failed.state == JobState.FAILED
    assert "no such run" in failed.error_message and counting.finished == ["failed"]
    assert not is_alive(engine_of(job, fence=1))
