"""Claims, leases, fences, follow-ups and the sweeper: the database decides."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from ftportal.jobs.finishing import follow_up_quietly, job_finish
from ftportal.jobs.leases import (
    EngineError,
    LeaseLostError,
    attempt_end,
    held_update,
    job_claim,
    lease_renew,
    stop_requested,
)
from ftportal.jobs.models import Job, JobState, Outcome
from ftportal.jobs.services import job_resume, job_stop, job_submit
from ftportal.jobs.sweeping import ring_again, sweep


def claimed(job: Job) -> Job:
    """The job, held by a new attempt."""
    held = job_claim(job_id=job.pk)
    assert held is not None
    return held


def expire(job: Job) -> None:
    """Let the lease be over."""
    Job.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))


def test_only_one_claim_wins(job: Job) -> None:
    first = claimed(job)
    assert (first.state, first.fence, first.attempts_left) == (JobState.CLAIMED, 1, 2)
    assert job_claim(job_id=job.pk) is None
    left = (first.lease_until or timezone.now()) - timezone.now()
    assert timedelta(seconds=55) < left < timedelta(seconds=65)


def test_a_renewal_moves_the_lease(job: Job) -> None:
    held = claimed(job)
    Job.objects.update(lease_until=Now() + timedelta(seconds=1))
    lease_renew(held)
    held.refresh_from_db()
    assert held.lease_until and held.lease_until > timezone.now() + timedelta(seconds=50)


def test_nothing_is_written_under_an_old_fence_or_an_expired_lease(job: Job) -> None:
    old = claimed(job)
    expire(job)
    for write in (lambda: lease_renew(old), lambda: stop_requested(old)):
        with pytest.raises(LeaseLostError):
            write()
    sweep()
    new = claimed(job)
    assert new.fence == 2
    with pytest.raises(LeaseLostError):
        held_update(old, phase="stale")
    with pytest.raises(LeaseLostError):
        attempt_end(job=old, state=JobState.SUCCEEDED, outcome=Outcome.DONE, exit_code=0)
    new.refresh_from_db()
    assert (new.state, new.phase) == (JobState.CLAIMED, "")


def test_the_reaper_queues_a_vanished_workers_job_until_its_attempts_are_used_up(
    job: Job, counting: Any
) -> None:
    for fence in (1, 2, 3):
        assert claimed(job).fence == fence
        sweep()
        job.refresh_from_db()
        assert job.state == JobState.CLAIMED, "its lease has not ended"
        expire(job)
        sweep()
    job.refresh_from_db()
    assert job.state == JobState.FAILED and job.finish_handled
    assert "worker vanished" in job.error_message and job.error_cure
    assert {attempt.outcome for attempt in job.attempts.all()} == {Outcome.LOST}
    assert counting.finished == ["failed"]


def test_the_reaper_cancels_what_a_person_wanted_stopped(job: Job, counting: Any) -> None:
    claimed(job)
    job_stop(job=job)
    expire(job)
    sweep()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED and counting.finished == ["cancelled"]


def test_a_waiting_job_is_stopped_at_once_and_can_be_started_again(job: Job, counting: Any) -> None:
    assert job_stop(job=job).state == JobState.CANCELLED
    assert job_claim(job_id=job.pk) is None
    job_finish(job_id=job.pk)
    job.refresh_from_db()
    assert counting.finished == ["cancelled"] and job.is_settled
    assert job_resume(job=job).state == JobState.QUEUED
    assert claimed(job).fence == 1


def test_an_ended_job_is_neither_stopped_nor_a_live_one_started_again(job: Job) -> None:
    held = claimed(job)
    assert job_resume(job=held).state == JobState.CLAIMED
    attempt_end(job=held, state=JobState.SUCCEEDED, outcome=Outcome.DONE, exit_code=0)
    assert job_stop(job=held).state == JobState.SUCCEEDED
    assert job_resume(job=held).state == JobState.SUCCEEDED


def test_follow_ups_are_tried_again_until_they_work_but_never_at_the_same_time(
    job: Job, counting: Any
) -> None:
    def fail(job: Job) -> None:
        raise OSError("disk full")

    counting.on_finish = fail
    held = claimed(job)
    attempt_end(job=held, state=JobState.SUCCEEDED, outcome=Outcome.DONE, exit_code=0)
    held.refresh_from_db()
    follow_up_quietly(held)
    counting.on_finish = lambda job: None
    sweep()
    assert counting.finished == [], "another may still be at it: its lease has not ended"
    expire(job)
    sweep()
    sweep()
    assert counting.finished == ["succeeded"]


def test_the_sweeper_rings_for_jobs_that_nobody_took(job: Job) -> None:
    ring_again()
    job.refresh_from_db()
    first = job.rung_at
    old = timezone.now() - timedelta(minutes=2)
    Job.objects.update(rung_at=old, queued_at=old)
    ring_again()
    job.refresh_from_db()
    assert job.rung_at and first and job.rung_at > first
    long_ago = timezone.now() - timedelta(hours=10)
    lately = timezone.now() - timedelta(minutes=2)
    Job.objects.update(rung_at=lately, queued_at=long_ago)
    ring_again()
    job.refresh_from_db()
    assert job.rung_at == lately, "a job that waits for hours is not rung for every minute"


def test_the_sweeper_calls_every_kind(job: Job, counting: Any) -> None:
    sweep()
    assert counting.swept == 1


def test_an_unknown_kind_is_refused(db: None, counting: Any) -> None:
    with pytest.raises(LookupError, match="'guess'"):
        job_submit(kind="guess", title="Guess", created_by=None)


def test_a_crash_keeps_its_error_while_the_job_waits(job: Job) -> None:
    held = claimed(job)
    error = EngineError(where="x" * 400, message="It broke.", cure="Mend it.")
    attempt_end(
        job=held, state=JobState.QUEUED, outcome=Outcome.FAILED, exit_code=1, error=error
    )  # fmt: skip
    job.refresh_from_db()
    assert job.state == JobState.QUEUED and job.error_message == "It broke."
    assert len(job.error_where) == 300
