"""What beat has done every few seconds, so that no crash and no lost message loses a job."""

import logging
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

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
    waiting = Job.objects.filter(state=JobState.QUEUED, rung_at__lt=Now() - RING_AGAIN_AFTER)
    for job in waiting.order_by(F("queued_at")):
        if job.rung_at is not None:
            waited = (job.rung_at - job.queued_at) * RING_AGAIN_SHARE
            ring_when_older_than(job, max(RING_AGAIN_AFTER, waited))


def ring_when_older_than(job: Job, age: timedelta) -> None:
    """Ring for the job where its last ring is older than `age` and it still waits."""
    if Job.objects.filter(pk=job.pk, state=JobState.QUEUED, rung_at__lt=Now() - age).exists():
        ring_on_commit(job)


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
