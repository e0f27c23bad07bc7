"""What the other apps and people may do with jobs: submit, stop, start again."""

from django.db import transaction
from django.db.models.functions import Now

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.jobs.doorbell import finish_on_commit, ring_on_commit
from ftportal.jobs.models import ATTEMPTS, LIVE_STATES, Job, JobState
from ftportal.jobs.registry import can_start_again, kind_of


def job_submit(*, kind: str, title: str, created_by: User | None) -> Job:
    """Insert a queued job in the caller's transaction; Celery is told when that is committed.

    `kind` must be registered (LookupError otherwise); `title` says on pages what the job does.
    """
    job = Job(kind=kind, queue=kind_of(kind).queue, title=title, created_by=created_by)
    job.full_clean()
    job.save()
    ring_on_commit(job)
    return job


@transaction.atomic
def job_stop(*, job: Job) -> Job:
    """Cancel a waiting job at once; ask a working one to save and stop. An ended one stays so.

    Returns the job as it is now. A stopped job can be started again with `job_resume`.
    """
    cancelled = Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(
        state=JobState.CANCELLED, finished_at=Now(), lease_until=None, finish_handled=False
    )
    if cancelled:
        finish_on_commit(job)
        asked = 0
    else:
        live = Job.objects.filter(pk=job.pk, state__in=LIVE_STATES, stop_requested=False)
        asked = live.update(stop_requested=True)
    job.refresh_from_db()
    if cancelled or asked:
        record("job.stopped", job)
    return job


@transaction.atomic
def job_resume(*, job: Job) -> Job:
    """Queue a stopped or failed job again, with all its attempts; anything else stays as it is,
    and so does what `registry.can_start_again` excludes.

    An engine that can resumes from the last complete state, any other starts afresh.
    """
    job = Job.objects.select_for_update().get(pk=job.pk)
    if not can_start_again(job):
        return job
    Job.objects.filter(pk=job.pk).update(
        state=JobState.QUEUED,
        attempts_left=ATTEMPTS,
        stop_requested=False,
        finish_handled=False,
        lease_until=None,
        queued_at=Now(),
        finished_at=None,
        exit_code=None,
        phase="",
        seconds_left=None,
        error_where="",
        error_message="",
        error_cure="",
    )
    job.refresh_from_db()
    ring_on_commit(job)
    record("job.resumed", job)
    return job
