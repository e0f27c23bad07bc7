"""What pages say about jobs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from ftportal.accounts.models import Role, User
from ftportal.jobs.models import ENDED_STATES, LEASED_STATES, LIVE_STATES, Job, JobState
from ftportal.jobs.registry import can_start_again, kind_of, kinds, shared_queues

NOBODY_LISTENS_AFTER = timedelta(seconds=45)
FILTERS = {
    "live": Q(state__in=LIVE_STATES),
    "succeeded": Q(state=JobState.SUCCEEDED),
    "failed": Q(state=JobState.FAILED),
    "cancelled": Q(state=JobState.CANCELLED),
}


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What a job waits for, beyond its own fields."""

    position: int | None
    """Its place in the queue, from 1; None unless it waits."""
    running: Job | None
    """What the worker of its queue does in the meantime."""
    nobody_listens: bool
    """It has waited for long, and no worker of its queue does anything."""
    queues: str
    """The queues that such a worker would serve, as for `celery worker -Q`."""
    lease_ends_at: datetime | None
    """When a silent worker's lease ends, so that the job can go on; None while it is heard."""
    silent_seconds: float | None
    """How long its worker has not been heard of; None while it is."""
    can_start_again: bool
    """Whether a person may queue it again, now that its follow-ups are done."""
    can_resume: bool
    """Whether starting it again goes on from a saved state."""


def job_status(job: Job) -> JobStatus:
    """Queue position, silent workers, missing workers."""
    silent = _silent_seconds(job)
    position, running, nobody = None, None, False
    queues = shared_queues(job.queue)
    if job.state == JobState.QUEUED:
        position = 1 + Job.objects.filter(_goes_before(job)).count()
        running = (
            Job.objects.filter(state__in=LEASED_STATES, queue__in=queues)
            .order_by("-started_at")
            .first()
        )
        nobody = running is None and timezone.now() - _last_activity(job) > NOBODY_LISTENS_AFTER
    return JobStatus(
        position=position,
        running=running,
        nobody_listens=nobody,
        queues=",".join(sorted(queues)),
        lease_ends_at=job.lease_until if silent is not None else None,
        silent_seconds=silent,
        can_start_again=job.is_settled and can_start_again(job),
        can_resume=bool(job.resume_state) and _is_resumable(job),
    )


def may_steer(user: User, job: Job) -> bool:
    """Whether this person may stop it and start it again: trainers, and whoever asked for it."""
    return user.has_role(Role.TRAINER) or (user.is_active and job.created_by_id == user.pk)


def job_list(*, kind: str = "", state: str = "", text: str = "") -> QuerySet[Job]:
    """Jobs filtered by kind, by one of FILTERS and by words of the title."""
    jobs = Job.objects.select_related("created_by")
    if kind:
        jobs = jobs.filter(kind=kind)
    if state in FILTERS:
        jobs = jobs.filter(FILTERS[state])
    if text:
        jobs = jobs.filter(title__icontains=text)
    return jobs


def kind_words() -> dict[str, str]:
    """The name of every kind and what people call it."""
    return {kind.name: kind.word or kind.name for kind in kinds()}


def _goes_before(job: Job) -> Q:
    """The waiting jobs that a worker takes before this one: queues in the order of their names."""
    earlier = Q(queue=job.queue, queued_at__lt=job.queued_at)
    preferred = [queue for queue in shared_queues(job.queue) if queue < job.queue]
    return Q(state=JobState.QUEUED) & (earlier | Q(queue__in=preferred))


def _last_activity(job: Job) -> datetime:
    """When a worker of the job's queues last ended something, or the job began to wait."""
    ended = (
        Job.objects.filter(queue__in=shared_queues(job.queue), state__in=ENDED_STATES)
        .exclude(started_at=None)
        .exclude(finished_at=None)
        .order_by("-finished_at")
        .values_list("finished_at", flat=True)
        .first()
    )
    return max(job.queued_at, ended) if ended else job.queued_at


def _silent_seconds(job: Job) -> float | None:
    """Seconds since the last renewal, where two renewals are overdue."""
    if job.state not in LEASED_STATES or job.lease_until is None:
        return None
    lease_seconds = settings.FTPORTAL_LEASE_SECONDS
    silent = lease_seconds - (job.lease_until - timezone.now()).total_seconds()
    return silent if silent > lease_seconds / 2 else None


def _is_resumable(job: Job) -> bool:
    try:
        return kind_of(job.kind).resumable
    except LookupError:
        return False
