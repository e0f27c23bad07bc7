"""Follow-ups of an ended job: what its app makes of the result. Done once, tried until done."""

import contextlib
import logging
import shutil
import uuid

from ftportal.jobs.leases import follow_up_claim
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import kind_of

logger = logging.getLogger(__name__)


def job_finish(*, job_id: uuid.UUID | str) -> None:
    """Do the follow-ups of an ended job where nobody else is at it."""
    job = follow_up_claim(job_id=job_id)
    if job is not None:
        follow_up_quietly(job)


def follow_up_quietly(job: Job) -> None:
    """As `follow_up`, but a failure is logged, and the sweeper tries again a lease later."""
    try:
        follow_up(job)
    except Exception:
        logger.exception("the follow-ups of %s failed; the sweeper will try again", job)


def follow_up(job: Job) -> None:
    """Call the kind's `on_finish` and note that it is done; raises what that raises."""
    kind_of(job.kind).on_finish(job)
    Job.objects.filter(pk=job.pk, state=job.state, fence=job.fence).update(
        finish_handled=True, lease_until=None
    )
    if job.state == JobState.SUCCEEDED:
        _states_remove(job)


def _states_remove(job: Job) -> None:
    """Resumable states are several times as large as the model; a job that is done needs none."""
    for states in job.directory.glob("attempts/*/trainer"):
        with contextlib.suppress(OSError):
            shutil.rmtree(states)
