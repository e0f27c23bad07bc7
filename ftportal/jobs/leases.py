"""Claims, leases and fences: every write of an attempt is one conditional UPDATE.

A write that changes no row means that the attempt no longer holds the job: somebody else has
it, or may have it. It raises LeaseLostError, and the attempt must end without another write.
"""

import socket
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from ftportal.jobs.doorbell import ring_on_commit
from ftportal.jobs.models import ENDED_STATES, LEASED_STATES, Attempt, Job, JobState, Outcome


class LeaseLostError(Exception):
    """The attempt does not hold its job any more."""


@dataclass(frozen=True, kw_only=True)
class EngineError:
    """What stopped an engine, where, and what to do about it."""

    where: str = ""
    message: str = ""
    cure: str = ""


def lease_end() -> Combinable:
    """One lease from now, by the database's clock: workers' clocks need not agree."""
    return Now() + timedelta(seconds=settings.FTPORTAL_LEASE_SECONDS)


def held(job: Job) -> QuerySet[Job]:
    """The job's row while this attempt, named by `job.fence`, holds an unexpired lease on it."""
    return Job.objects.filter(
        pk=job.pk, fence=job.fence, state__in=LEASED_STATES, lease_until__gte=Now()
    )


def held_update(job: Job, **changes: Any) -> None:
    """Write to the job as its holder; raises LeaseLostError where another attempt holds it."""
    if not held(job).update(**changes):
        raise LeaseLostError(f"attempt {job.fence} no longer holds {job.pk}")


@transaction.atomic
def job_claim(*, job_id: uuid.UUID | str) -> Job | None:
    """Take a queued job for a new attempt; None where it is not queued (any more)."""
    claimed = Job.objects.filter(pk=job_id, state=JobState.QUEUED, attempts_left__gt=0).update(
        state=JobState.CLAIMED,
        fence=F("fence") + 1,
        attempts_left=F("attempts_left") - 1,
        lease_until=lease_end(),
        started_at=Coalesce("started_at", Now()),
        phase="",
        seconds_left=None,
        exit_code=None,
    )
    if not claimed:
        return None
    job = Job.objects.get(pk=job_id)
    Attempt.objects.create(job=job, fence=job.fence, host=socket.gethostname())
    return job


def lease_renew(job: Job) -> None:
    """Hold the job for one more lease."""
    held_update(job, lease_until=lease_end())


def stop_requested(job: Job) -> bool:
    """Whether a person wants this attempt stopped; raises LeaseLostError."""
    wanted = held(job).values_list("stop_requested", flat=True).first()
    if wanted is None:
        raise LeaseLostError(f"attempt {job.fence} no longer holds {job.pk}")
    return wanted


@transaction.atomic
def attempt_end(
    *,
    job: Job,
    state: JobState,
    outcome: Outcome,
    exit_code: int | None,
    error: EngineError | None = None,
    count: bool = True,
) -> None:
    """End the attempt and move the job to `state`, ended or queued again; raises LeaseLostError.

    `count=False` gives the attempt back, for a worker that was stopped is not the job's fault: the
    job keeps its place in the queue too.
    An ended job keeps one lease for its follow-ups. `error` stays on a queued job too, so that
    its page can say why it starts again.
    """
    if state in ENDED_STATES:
        changes: dict[str, Any] = {"finished_at": Now(), "lease_until": lease_end()}
    elif count:
        changes = {"queued_at": Now(), "lease_until": None}
    else:
        changes = {"attempts_left": F("attempts_left") + 1, "lease_until": None}
    error = error or EngineError()
    held_update(
        job,
        state=state,
        exit_code=exit_code,
        seconds_left=None,
        error_where=error.where[:300],
        error_message=error.message,
        error_cure=error.cure,
        **changes,
    )
    _attempt_close(job, outcome, exit_code)
    if state == JobState.QUEUED:
        ring_on_commit(job)


@transaction.atomic
def lease_reap(*, job: Job) -> JobState | None:
    """Take the job from an attempt whose lease is over; None where somebody was quicker."""
    error = EngineError()
    if job.stop_requested:
        state = JobState.CANCELLED
    elif job.attempts_left:
        state = JobState.QUEUED
    else:
        state = JobState.FAILED
        error = EngineError(
            where=f"attempt {job.fence}",
            message="Its worker vanished, as the workers of the attempts before it failed too.",
            cure="Look for a worker that was killed or a machine that ran out of memory, "
            "then start the job again.",
        )
    expired = Job.objects.filter(
        pk=job.pk,
        fence=job.fence,
        state__in=LEASED_STATES,
        lease_until__lt=Now(),
        stop_requested=job.stop_requested,
    )
    ended = state in ENDED_STATES
    if not expired.update(
        state=state,
        lease_until=None,
        seconds_left=None,
        queued_at=F("queued_at") if ended else Now(),
        finished_at=Now() if ended else None,
        error_where=error.where,
        error_message=error.message,
        error_cure=error.cure,
    ):
        return None
    _attempt_close(job, Outcome.LOST, None)
    if not ended:
        ring_on_commit(job)
    return state


def follow_up_claim(*, job_id: uuid.UUID | str) -> Job | None:
    """Take an ended job for its follow-ups, for one lease; None where there are none or not now."""
    taken = (
        Job.objects.filter(pk=job_id, state__in=ENDED_STATES, finish_handled=False)
        .filter(Q(lease_until=None) | Q(lease_until__lt=Now()))
        .update(lease_until=lease_end())
    )
    return Job.objects.get(pk=job_id) if taken else None


def _attempt_close(job: Job, outcome: Outcome, exit_code: int | None) -> None:
    Attempt.objects.filter(job=job, fence=job.fence).update(
        ended_at=Now(), outcome=outcome, exit_code=exit_code
    )
