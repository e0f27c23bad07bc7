"""A kind of job whose engine only counts, and helpers to make such jobs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from engine.events import Event, Metric
from ftportal.jobs import doorbell, registry
from ftportal.jobs.models import Job
from ftportal.jobs.registry import JobKind
from ftportal.jobs.services import job_submit
from tests.engines.apps import CountingConfig
from tests.ftportal.jobs.processes import Portal, database_at


class Counting:
    """The counting kind: what its engine is told, and what it was called with."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {"steps": 10}
        self.events: list[Event] = []
        self.finished: list[str] = []
        self.on_events: Callable[[Job, list[Event]], None] = lambda job, events: None
        self.on_finish: Callable[[Job], None] = lambda job: None
        self.swept = 0

    def _events(self, job: Job, events: list[Event]) -> None:
        self.on_events(job, events)
        self.events += events

    def _finish(self, job: Job) -> None:
        self.on_finish(job)
        self.finished.append(job.state)

    def _sweep(self) -> None:
        self.swept += 1

    def steps(self) -> list[int]:
        """The steps whose metrics were recorded, in order."""
        return [event.step for event in self.events if isinstance(event, Metric)]

    def kind(self) -> JobKind:
        """The kind as an app would register it."""
        return JobKind(
            name="count",
            queue="train",
            module="tests.engines.counting",
            config=lambda job: self.config,
            on_events=self._events,
            on_finish=self._finish,
            sweep=self._sweep,
            resumable=True,
        )


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Iterator[Counting]:
    """The counting kind, registered alone for one test."""
    monkeypatch.setattr(registry, "_kinds", {})
    counting = Counting()
    registry.register(counting.kind())
    yield counting


@pytest.fixture
def job(db: None, counting: Counting) -> Job:
    """A queued counting job."""
    return job_submit(kind="count", title="Count to ten", created_by=None)


@pytest.fixture(scope="session")
def migrated_file(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[Path]:
    """A database file with all tables."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    with django_db_blocker.unblock(), database_at(path):
        call_command("migrate", verbosity=0)
    yield path


@pytest.fixture
def portal_of(
    migrated_file: Path,
    data_dir: Path,
    settings: Any,
    django_db_blocker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Portal]]:
    """`portal_of(settings)`: a portal by these settings with Redis and no worker yet; this test
    shares its database and its broker."""
    (data_dir / "db.sqlite3").write_bytes(migrated_file.read_bytes())
    settings.FTPORTAL_LEASE_SECONDS = 3
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(database_at(data_dir / "db.sqlite3"))

        def start(settings_module: str) -> Portal:
            portal = Portal(data_dir, settings=settings_module)
            stack.callback(portal.close)
            monkeypatch.setattr(doorbell, "app", portal.celery)
            portal.redis_start()
            return portal

        yield start


@pytest.fixture
def portal(portal_of: Callable[[str], Portal], monkeypatch: pytest.MonkeyPatch) -> Portal:
    """A portal whose jobs only count."""
    monkeypatch.setattr(registry, "_kinds", {})
    CountingConfig.ready(None)  # type: ignore[arg-type]
    return portal_of("tests.engines.settings")


@pytest.fixture
def submit(portal: Portal) -> Callable[..., Job]:
    """`submit(steps=...)`: a queued job whose engine counts."""

    def submit(kind: str = "count", **config: Any) -> Job:
        job = Job(kind=kind)
        job = job_submit(kind=kind, title=f"A job that is to {kind}", created_by=None)
        portal.tell(job, config)
        return job

    return submit
