"""What beat has done every few seconds, so that no crash and no lost message loses a job."""

import logging
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ftportal.jobs.doorbell import ring_on_commit
from ftportal.jobs.finishing import job_finish
from ftportal.jobs.leases import lease_reap
from ftportal.jobs.models import ENDED_STATES, LEASED_STATES, Job, JobState
from ftportal.jobs.registry import kinds

logger = logging.getLogger(__name__)

RING_AGAIN_AFTER = timedelta(seconds=60)
RING_AGAIN_SHARE = 0.1


def sweep() -> None:
    """Reap, ring, finish, and let every kind look for what it lost. Each step stands alone."""
    for step in (reap_expired_leases, ring_again, finish_ended_jobs, sweep_kinds):
        try:
            step()
        except Exception:
            logger.exception("the sweep's step %s failed", step.__name__)


def reap_expired_leases() -> None:
    """Queue the jobs of vanished workers again, or fail them where their attempts are used up."""
    for job in Job.objects.filter(state__in=LEASED_STATES, lease_until__lt=Now()):
        if state := lease_reap(job=job):
            logger.warning("%s: attempt %d lost its worker; now %s", job, job.fence, state)


def ring_again() -> None:
    """Ring for queued jobs that nobody has taken, since a message may have been lost.

    A job behind a long run is rung for after 60 s and then whenever a tenth of its waiting time
    has passed, so that waiting for hours leaves dozens of messages, not thousands.
    """
    now = timezone.now()
    for job in _queued_jobs():
        last = job.rung_at or job.queued_at
        patience = max(RING_AGAIN_AFTER, (last - job.queued_at) * RING_AGAIN_SHARE)
        if now - last > patience:
            ring_on_commit(job)


def ring_all() -> None:
    """Ring for every queued job: a worker that has just started may have a new, empty Redis."""
    for job in _queued_jobs():
        ring_on_commit(job)


def _queued_jobs() -> QuerySet[Job]:
    return Job.objects.filter(state=JobState.QUEUED).order_by("queued_at")


def finish_ended_jobs() -> None:
    """Do follow-ups that a crash cut off, or that failed a lease ago."""
    ended = Job.objects.filter(state__in=ENDED_STATES, finish_handled=False)
    for job_id in ended.values_list("pk", flat=True):
        job_finish(job_id=job_id)


def sweep_kinds() -> None:
    """Let each kind find the follow-ups that were lost between two floors."""
    for kind in kinds():
        try:
            kind.sweep()
        except Exception:
            logger.exception("the sweep of kind %s failed", kind.name)
