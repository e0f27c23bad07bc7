"""Whether the portal can do its work, for load balancers and monitoring.

What is answered names no path, no host and no error of a library: anybody may ask.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ftportal.celery import app
from ftportal.jobs.doorbell import IMPATIENT
from ftportal.jobs.models import Job, JobState


def readiness() -> dict[str, str]:
    """What pages need -> "ok", or what is wrong with it."""
    database = _database_state()
    return {
        "database": database,
        "tables": _tables_state() if database == "ok" else "not known",
        "folder": _folder_state(),
    }


def _database_state() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "does not answer"
    return "ok"


class _Tables:
    """Once they fit this version they do until the process ends: it is asked every few seconds."""

    are_current = False


def _tables_state() -> str:
    if not _Tables.are_current:
        executor = MigrationExecutor(connection)
        leaves = executor.loader.graph.leaf_nodes()
        _Tables.are_current = not executor.migration_plan(leaves)
    return "ok" if _Tables.are_current else "older than this version: run manage.py migrate"


def _folder_state() -> str:
    folder = settings.FTPORTAL_DATA
    if not folder.is_dir():
        return "is not there"
    return "ok" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written to"


def broker_answers() -> bool:
    """Whether Celery's broker answers within a second.

    Pages work without it, and what was rung in vain is found by the sweeper: so `readiness` does
    not ask.
    """
    try:
        with app.connection_for_write(transport_options=IMPATIENT) as broker:
            broker.channel().close()
    except Exception:  # whatever the broker's library raises
        return False
    return True


class PortalCollector(Collector):
    """The portal's state at this moment, read from the database when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; their help texts say what each is."""
        jobs = GaugeMetricFamily(
            "ftportal_jobs", "Jobs by kind and state.", labels=("kind", "state")
        )
        for kind, state, count in (
            Job.objects.everything().order_by().values_list("kind", "state").annotate(Count("pk"))
        ):
            jobs.add_metric((kind, state), count)
        yield jobs
        yield from self._waits()
        yield from self._disk()
        yield GaugeMetricFamily(
            "ftportal_broker_up", "1 where Celery's broker answers.", value=broker_answers()
        )

    def _waits(self) -> Iterator[Metric]:
        """How long the first job of each queue has waited."""
        waits = GaugeMetricFamily(
            "ftportal_queue_wait_seconds",
            "How long the oldest waiting job of a queue has waited.",
            labels=("queue",),
        )
        queued = (
            Job.objects.everything().filter(state=JobState.QUEUED).order_by().values_list("queue")
        )
        since: datetime
        for queue, since in queued.annotate(Min("queued_at")):
            waits.add_metric((queue,), max(0.0, (timezone.now() - since).total_seconds()))
        yield waits

    def _disk(self) -> Iterator[Metric]:
        usage = shutil.disk_usage(settings.FTPORTAL_DATA)
        yield GaugeMetricFamily(
            "ftportal_disk_free_bytes", "Free on the disk of FTPORTAL_DATA.", value=usage.free
        )
        yield GaugeMetricFamily(
            "ftportal_disk_bytes", "Size of the disk of FTPORTAL_DATA.", value=usage.total
        )


def metrics_text() -> bytes:
    """The portal's state in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(PortalCollector())
    return generate_latest(registry)
