"""One attempt at one job: start the engine, follow it, hold the lease, say how it ended."""

import json
import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections

from engine.seals import FIELD
from ftportal.jobs.engine import EngineProcess, Watchdog
from ftportal.jobs.finishing import follow_up, follow_up_quietly
from ftportal.jobs.leases import (
    EngineError,
    LeaseLostError,
    attempt_end,
    held_update,
    job_claim,
    lease_renew,
    stop_requested,
)
from ftportal.jobs.models import Attempt, Job, JobState, Outcome
from ftportal.jobs.outcomes import Ending, Exit, another_try, ending_of
from ftportal.jobs.recording import Recorder, record_earlier_attempts, resume_directory
from ftportal.jobs.registry import JobKind, JobRefusedError, kind_of

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
"""How often events are recorded and a stop is looked for."""
EXIT_POLL_SECONDS = 0.1
UNREACHABLE = (OperationalError, InterfaceError)
"""What Django raises while the database does not answer, or is locked for too long."""


def never() -> bool:
    """No worker is about to stop."""
    return False


def job_work(*, job_id: uuid.UUID | str, worker_stops: Callable[[], bool] = never) -> Job | None:
    """Claim the job, see it through, do its follow-ups; None where it is somebody else's.

    `worker_stops` is asked twice a second whether this worker wants to end: then the engine saves
    and the job is queued again at once. Returns the job as the database has it afterwards.
    """
    leased_at = time.monotonic()
    job = job_claim(job_id=job_id)
    if job is None:
        return None
    fence = job.fence
    try:
        Supervisor(job, worker_stops, leased_at).run()
    except LeaseLostError as lost:
        logger.warning("%s: %s", job, lost)
    except Exception:
        logger.exception("attempt %d at %s failed", fence, job)
    job.refresh_from_db()
    if job.fence != fence:
        return None
    if job.has_ended and not job.finish_handled:
        follow_up_quietly(job)
        job.refresh_from_db()
    return job


def job_run_now(job: Job) -> Job:
    """Do a queued job in this very process, follow-ups included, and return it.

    For seeding and tests: raises what goes wrong in the kind's functions, which a worker would
    log, and LookupError where the job is not queued.
    """
    leased_at = time.monotonic()
    claimed = job_claim(job_id=job.pk)
    if claimed is None:
        raise LookupError(f"{job} is not queued")
    Supervisor(claimed, never, leased_at).run()
    claimed.refresh_from_db()
    if claimed.has_ended:
        follow_up(claimed)
        claimed.refresh_from_db()
    return claimed


class Supervisor:
    """Sees one attempt through. Its thread must not end before the engine: `run` makes sure."""

    def __init__(self, job: Job, worker_stops: Callable[[], bool], leased_at: float) -> None:
        self._job = job
        self._attempt = Attempt.objects.get(job=job, fence=job.fence)
        self._worker_stops = worker_stops
        self._leased_at = leased_at  # before the claim or renewal was sent, by our clock
        self._stop_asked_at: float | None = None
        self._stopped_by_person = False
        self._watchdog: Watchdog | None = None

    def run(self) -> None:
        """Start the engine, follow it to its end and write that down.

        Raises LeaseLostError, UNREACHABLE, and any error in the kind's functions, which is
        written down as the end of the attempt.
        """
        try:
            self._run(kind_of(self._job.kind))
        except JobRefusedError as refused:
            error = EngineError(where=refused.where, message=refused.message, cure=refused.cure)
            self._end(
                Ending(state=JobState.FAILED, outcome=Outcome.FAILED, exit_code=None, error=error)
            )
        except (LeaseLostError, *UNREACHABLE):
            raise
        except Exception as problem:
            self._end(another_try(None, _own_failure(problem), self._job.attempts_left))
            raise

    def _run(self, kind: JobKind) -> None:
        engine = self._start(kind)
        self._watchdog = Watchdog(engine.kill, self._deadline)
        try:
            Attempt.objects.filter(pk=self._attempt.pk).update(engine_pid=engine.pid)
            self._follow(engine, Recorder(self._job, kind, self._attempt))
        finally:
            engine.close()
            self._watchdog.stop()

    @property
    def _deadline(self) -> float:
        """When the engine must be dead: a tenth of the lease before another worker may start."""
        return self._leased_at + 0.9 * settings.FTPORTAL_LEASE_SECONDS

    def _start(self, kind: JobKind) -> EngineProcess:
        directory = self._job.directory
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.json"
        if not config.exists():
            told = kind.config(self._job)
            if seals := kind.seals(self._job):
                told = {**told, FIELD: [asdict(seal) for seal in seals]}
            text = json.dumps(told, indent=2, sort_keys=True, allow_nan=False)
            partial = directory / f"config.json.{self._job.fence}"
            with partial.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(config)
        record_earlier_attempts(self._job, kind, self._renew_when_due)
        resume = resume_directory(self._job) if kind.resumable else None
        held_update(self._job, state=JobState.RUNNING)
        return EngineProcess(
            module=kind.module, directory=directory, attempt=self._job.fence, resume=resume
        )

    def _follow(self, engine: EngineProcess, recorder: Recorder) -> None:
        while (code := engine.poll()) is None:
            try:
                self._tick(engine, recorder)
            except UNREACHABLE as error:
                # The watchdog bounds how long this may go on.
                logger.warning("%s: the database does not answer: %s", self._job, error)
                close_old_connections()
            self._sleep(engine)
        while True:
            try:
                self._conclude(engine, recorder, code)
                return
            except UNREACHABLE as error:
                logger.warning("%s: its end cannot be recorded yet: %s", self._job, error)
                close_old_connections()
                if time.monotonic() > self._deadline:
                    raise LeaseLostError(
                        "the database did not answer before the lease ended"
                    ) from error
                time.sleep(TICK_SECONDS)

    def _sleep(self, engine: EngineProcess) -> None:
        until = time.monotonic() + TICK_SECONDS
        while time.monotonic() < until and engine.poll() is None:
            time.sleep(EXIT_POLL_SECONDS)

    def _tick(self, engine: EngineProcess, recorder: Recorder) -> None:
        self._renew_when_due()
        recorder.record()
        self._stopped_by_person = stop_requested(self._job)
        now = time.monotonic()
        if self._stop_asked_at is None:
            if self._stopped_by_person or self._worker_stops():
                self._stop_asked_at = now
                engine.ask_to_stop()
        elif now - self._stop_asked_at > settings.FTPORTAL_SAVE_SECONDS:
            logger.warning("%s did not stop in time and is killed", self._job)
            engine.kill()

    def _renew_when_due(self) -> None:
        now = time.monotonic()
        if now - self._leased_at >= settings.FTPORTAL_LEASE_SECONDS / 6:
            lease_renew(self._job)
            self._leased_at = now
            if self._watchdog is not None:
                self._watchdog.deadline_seconds = self._deadline

    def _conclude(self, engine: EngineProcess, recorder: Recorder, code: int) -> None:
        if self._watchdog is not None and self._watchdog.has_killed:
            raise LeaseLostError("the lease could not be renewed, so the engine was killed")
        while recorder.record():
            self._renew_when_due()
        self._stopped_by_person = stop_requested(self._job)
        self._end(
            ending_of(
                Exit(
                    code=code,
                    error=recorder.error,
                    last_words=engine.last_words(),
                    has_output=self._job.output_directory.is_dir(),
                    stopped_by_person=self._stopped_by_person,
                    stopped_by_worker=self._stop_asked_at is not None,
                    attempts_left=self._job.attempts_left,
                )
            )
        )

    def _end(self, ending: Ending) -> None:
        attempt_end(
            job=self._job,
            state=ending.state,
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            error=ending.error,
            count=ending.count,
        )


def _own_failure(problem: Exception) -> EngineError:
    return EngineError(
        where="the portal",
        message=f"The portal could not start the engine or record its work: {problem}",
        cure="Look at the worker's log for the whole story, then start the job again.",
    )
