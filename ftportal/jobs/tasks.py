"""Celery's doorbell: tasks take an id, claim, work, record. A duplicate message does nothing."""

import logging
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from ftportal.jobs.finishing import job_finish
from ftportal.jobs.supervisor import job_work
from ftportal.jobs.sweeping import ring_all, sweep

logger = logging.getLogger(__name__)


class _WorkerState:
    """Whether this worker was asked to stop.

    A plain attribute: the signal comes inside a signal handler, which must not wait for a lock.
    """

    stops = False


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _worker_stops(**_: Any) -> None:
    _WorkerState.stops = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def _worker_begins(**_: Any) -> None:
    try:
        ring_all()
    except Exception:  # the sweeper rings too
        logger.exception("the queued jobs could not be rung for")


@shared_task(name="jobs.work")  # type: ignore[untyped-decorator]
def work(job_id: str) -> None:
    """Claim the job and see it through; nothing where it is not queued or this worker stops."""
    if not _WorkerState.stops:
        job_work(job_id=job_id, worker_stops=lambda: _WorkerState.stops)


@shared_task(name="jobs.finish")  # type: ignore[untyped-decorator]
def finish(job_id: str) -> None:
    """Do the follow-ups of a job that ended without a worker."""
    job_finish(job_id=job_id)


@shared_task(name="jobs.sweep")  # type: ignore[untyped-decorator]
def sweep_all() -> None:
    """Run by beat."""
    sweep()
