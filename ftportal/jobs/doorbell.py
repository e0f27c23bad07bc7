"""Telling Celery that a job waits. The database is the truth: a ring that fails loses nothing."""

import logging
import uuid
from functools import partial

from django.db import transaction
from django.utils import timezone

from ftportal.celery import app
from ftportal.jobs.models import Job

logger = logging.getLogger(__name__)

IMPATIENT = {"max_retries": 0, "socket_connect_timeout": 0.5, "socket_timeout": 1.0}
"""For this connection alone, in seconds: whoever has just sent a form must not wait for Redis."""


def ring_on_commit(job: Job) -> None:
    """Ring for a queued job once the transaction around this call is committed."""
    Job.objects.filter(pk=job.pk).update(rung_at=timezone.now())
    transaction.on_commit(partial(_send, "jobs.work", job.pk, job.queue))


def finish_on_commit(job: Job) -> None:
    """Have a worker do the follow-ups of a job that ended without one."""
    transaction.on_commit(partial(_send, "jobs.finish", job.pk, "default"))


def _send(task: str, job_id: uuid.UUID, queue: str) -> None:
    try:
        with app.connection_for_write(transport_options=IMPATIENT) as connection:
            app.send_task(task, args=[str(job_id)], queue=queue, retry=False, connection=connection)
    except Exception as error:  # whatever the broker's library raises: the sweeper rings again
        logger.warning("%s was not rung for job %s: %s", task, job_id, error)
