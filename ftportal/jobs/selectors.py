"""What pages say about jobs."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.conf import settings
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from ftportal.accounts.models import Role, User
from ftportal.accounts.sight import hidden_models
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
    running_title: str
    """In words; empty for nothing."""
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


class Queues:
    """What waits and who works, read at most once for all the jobs that a page shows."""

    def position(self, job: Job) -> int:
        """A waiting job's place among all that its worker takes before it, from 1: queues in the
        order of their names, then by time."""
        before = shared_queues(job.queue)
        place = (job.queue, job.queued_at)
        return 1 + sum(other < place for other in self._waiting if other[0] in before)

    def running(self, job: Job) -> Job | None:
        """What the worker of the job's queue does."""
        shared = shared_queues(job.queue)
        return next((one for one in self._running if one.queue in shared), None)

    def running_title(self, job: Job) -> str:
        """What the worker of the job's queue does, in words that this person may read."""
        running = self.running(job)
        if running is None:
            return ""
        return f"“{running.title}”" if running.pk in self._shown else "another job"

    def nobody_listens(self, job: Job) -> bool:
        """Whether a waiting job has waited for long while no worker of its queue did anything."""
        ended = [self._ended[queue] for queue in shared_queues(job.queue) if queue in self._ended]
        quiet = timezone.now() - max([job.queued_at, *ended])
        return self.running(job) is None and quiet > NOBODY_LISTENS_AFTER

    @cached_property
    def _waiting(self) -> list[tuple[str, datetime]]:
        return list(
            Job.objects.everything()
            .filter(state=JobState.QUEUED)
            .order_by()
            .values_list("queue", "queued_at")
        )

    @cached_property
    def _running(self) -> list[Job]:
        """Also those that this person may not see: they keep a worker busy all the same."""
        jobs = Job.objects.everything().filter(state__in=LEASED_STATES)
        return list(jobs.order_by("-started_at"))

    @cached_property
    def _shown(self) -> set[uuid.UUID]:
        running = {job.pk for job in self._running}
        if not hidden_models():
            return running
        return set(Job.objects.filter(pk__in=running).values_list("pk", flat=True))

    @cached_property
    def _ended(self) -> dict[str, datetime]:
        """When a worker of each queue last ended something."""
        ended = Job.objects.everything().filter(
            state__in=ENDED_STATES, started_at__isnull=False, finished_at__isnull=False
        )
        return dict(ended.order_by().values_list("queue").annotate(last=Max("finished_at")))


def job_status(job: Job, queues: Queues | None = None) -> JobStatus:
    """Queue position, silent workers, missing workers."""
    queues = queues or Queues()
    silent = _silent_seconds(job)
    waits = job.state == JobState.QUEUED
    return JobStatus(
        position=queues.position(job) if waits else None,
        running=queues.running(job) if waits else None,
        running_title=queues.running_title(job) if waits else "",
        nobody_listens=waits and queues.nobody_listens(job),
        queues=",".join(sorted(shared_queues(job.queue))),
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
