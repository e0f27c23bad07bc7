"""What an attempt's end means for its job: done, final failure, stopped, or another try."""

import signal
from dataclasses import dataclass

from engine.process import BAD_INPUT, DIVERGED, DONE, OUT_OF_MEMORY, STOPPED
from ftportal.jobs.leases import EngineError
from ftportal.jobs.models import JobState, Outcome

_FINAL = {
    BAD_INPUT: EngineError(
        message="The engine refused its configuration or its data.",
        cure="Look at the recipe and the batches, then start a new one.",
    ),
    DIVERGED: EngineError(
        message="The loss stopped being a number.",
        cure="Lower the learning rate, then start a new one.",
    ),
    OUT_OF_MEMORY: EngineError(
        message="Memory ran out.",
        cure="Lower the longest example, the examples per step or the batch size.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Exit:
    """What the supervisor knows when its engine has ended."""

    code: int
    """As from subprocess: negative means killed by that signal."""
    error: EngineError | None
    """The last error among its events."""
    last_words: str
    """The end of its stderr."""
    has_output: bool
    stopped_by_person: bool
    stopped_by_worker: bool
    attempts_left: int


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The job's next state, and the attempt's outcome."""

    state: JobState
    outcome: Outcome
    exit_code: int | None
    error: EngineError | None = None
    count: bool = True


def ending_of(end: Exit) -> Ending:
    """Decide what follows from an engine's end."""
    if end.code == DONE and end.has_output:
        return Ending(state=JobState.SUCCEEDED, outcome=Outcome.DONE, exit_code=DONE)
    if end.code in _FINAL:
        error = end.error or _FINAL[end.code]
        return Ending(
            state=JobState.FAILED, outcome=Outcome.FAILED, exit_code=end.code, error=error
        )
    if end.stopped_by_person:
        return Ending(state=JobState.CANCELLED, outcome=Outcome.STOPPED, exit_code=end.code)
    if end.stopped_by_worker:
        return Ending(
            state=JobState.QUEUED, outcome=Outcome.RETURNED, exit_code=end.code, count=False
        )
    return another_try(end.code, _crash(end), end.attempts_left)


def another_try(exit_code: int | None, error: EngineError, attempts_left: int) -> Ending:
    """Queue the job again while it has attempts left, else it has failed."""
    state = JobState.QUEUED if attempts_left else JobState.FAILED
    return Ending(state=state, outcome=Outcome.FAILED, exit_code=exit_code, error=error)


def _crash(end: Exit) -> EngineError:
    if end.error is not None:
        return end.error
    cure = "Start it again; when it ends like this every time, the message above says where."
    if end.code == DONE:
        message = "The engine said that it was done, but its output is not there."
    elif end.code == STOPPED or end.code == -signal.SIGTERM:
        message = "Something outside the portal asked the engine to stop."
    elif end.code == -signal.SIGKILL:
        message = "The system killed the engine, most often because memory ran out."
        cure = "Lower the longest example or the batch size, or free memory on the machine."
    elif end.code < 0:
        message = f"The engine was ended by {signal.Signals(-end.code).name}."
    else:
        message = f"The engine ended unexpectedly with exit code {end.code}."
    if end.last_words:
        message = f"{message} Its last words:\n{end.last_words}"
    return EngineError(message=message, cure=cure)
