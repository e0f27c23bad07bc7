"""From an engine's event log into the database: each event once, whoever's attempt wrote it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import transaction

from engine.events import UNREADABLE, Caution, Event, Failure, Progress, Saved, read_events
from engine.manifest import COMPLETE
from ftportal.jobs.leases import EngineError, held_update
from ftportal.jobs.models import Attempt, Job
from ftportal.jobs.registry import JobKind

logger = logging.getLogger(__name__)

BATCH_BYTES = 64 * 1024
"""Events in one transaction, some hundreds, so that none takes a second."""


class Recorder:
    """Follows the log of one attempt at `job` and writes as the job's holder."""

    def __init__(self, job: Job, kind: JobKind, attempt: Attempt) -> None:
        self._job = job
        self._kind = kind
        self._attempt = attempt
        self._directory = job.directory / "attempts" / str(attempt.fence)
        self._is_current = attempt.fence == job.fence
        self.error: EngineError | None = None
        """The last error that the engine reported."""

    def record(self) -> bool:
        """Record what is new, at most one batch; True where there was something.

        Raises LeaseLostError where the job is somebody else's, and whatever the kind raises.
        """
        offset = self._attempt.events_offset_bytes
        path = self._directory / "events.jsonl"
        events, end = read_events(path, offset, limit_bytes=BATCH_BYTES)
        if end == offset:
            return False
        self._write(events, end)
        self._attempt.events_offset_bytes = end
        return True

    @transaction.atomic
    def _write(self, events: list[Event], end: int) -> None:
        held_update(self._job, **self._changes(events))
        Attempt.objects.filter(pk=self._attempt.pk).update(events_offset_bytes=end)
        if events:
            self._kind.on_events(self._job, events)

    def _changes(self, events: list[Event]) -> dict[str, Any]:
        """The job's fields that these events set. An earlier attempt's progress is history."""
        changes: dict[str, Any] = {}
        for event in events:
            if isinstance(event, Caution) and event.where == UNREADABLE:
                logger.warning("%s: %s", self._attempt, event.message)
            elif isinstance(event, Saved):
                if state := self._complete_state(event.path):
                    changes["resume_state"] = self._job.resume_state = state
            elif not self._is_current:
                continue
            elif isinstance(event, Progress):
                changes.update(_progress(event))
            elif isinstance(event, Failure):
                self.error = EngineError(where=event.where, message=event.message, cure=event.cure)
        # Writing something, if only the same state, checks the fence.
        return changes or {"fence": self._job.fence}

    def _complete_state(self, path: str) -> str | None:
        """The state's path relative to the job's directory where it is there and complete."""
        state = (self._directory / path).resolve()
        root = self._job.directory.resolve()
        if not state.is_relative_to(root) or not (state / COMPLETE).is_file():
            return None
        return state.relative_to(root).as_posix()


def record_earlier_attempts(job: Job, kind: JobKind, between: Callable[[], None]) -> None:
    """Record what earlier attempts wrote and no supervisor lived to read: a curve has no hole.

    `between` is called after every batch, to keep the lease.
    """
    for attempt in job.attempts.filter(fence__lt=job.fence):
        recorder = Recorder(job, kind, attempt)
        while recorder.record():
            between()


def resume_directory(job: Job) -> Path | None:
    """The last complete state of any attempt, if it is still there."""
    if not job.resume_state:
        return None
    state = job.directory / job.resume_state
    return state if (state / COMPLETE).is_file() else None


def _progress(event: Progress) -> dict[str, Any]:
    return {
        "phase": event.phase[:60],
        "progress_done": event.done,
        "progress_total": event.total,
        "progress_unit": event.unit[:30],
        "seconds_left": event.seconds_left,
    }
