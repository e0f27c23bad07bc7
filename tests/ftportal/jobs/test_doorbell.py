"""Ringing with Redis away: whoever has just sent a form must not wait for it."""

import socket
import time
from collections.abc import Iterator

import pytest

from ftportal.celery import app
from ftportal.jobs.doorbell import ring_on_commit
from ftportal.jobs.models import Job


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _seconds(job: Job, capture: object) -> float:
    started = time.monotonic()
    with capture(execute=True):  # type: ignore[operator]
        ring_on_commit(job)
    return time.monotonic() - started


def test_a_redis_that_is_away_or_silent_delays_a_ring_by_a_second_at_most(
    job: Job,
    silent_port: int,
    django_capture_on_commit_callbacks: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _seconds(job, django_capture_on_commit_callbacks)  # loads Redis's client
    assert _seconds(job, django_capture_on_commit_callbacks) < 0.5
    monkeypatch.setattr(app.conf, "broker_write_url", f"redis://127.0.0.1:{silent_port}/0")
    assert _seconds(job, django_capture_on_commit_callbacks) < 1.8
