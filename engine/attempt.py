"""The frame of one attempt: arguments, directories, events, signals, exit codes. No torch."""

import argparse
import errno
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.checks import ConfigError
from engine.errors import PlacedError
from engine.events import EventWriter, SilentWriter
from engine.manifest import directory_publish
from engine.process import (
    BAD_INPUT,
    DONE,
    FAILED,
    OUT_OF_MEMORY,
    STOPPED,
    StopRequest,
    supervise_self,
)
from engine.seals import FIELD, SealError, seals_check, seals_read

_COMMENT_LINE = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
_MEMORY_CURE = "Give the engine less to do at once, or use a machine with more memory."


class EngineError(PlacedError):
    """The attempt cannot go on; carries its exit code and the words for the user."""

    def __init__(
        self,
        exit_code: int,
        where: str,
        message: str,
        cure: str,
        *,
        metric: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(where, message, cure)
        self.exit_code = exit_code
        self.metric = metric
        """{"step", "values"}: the last metric event, of the step that failed."""


class StoppedError(Exception):
    """SIGTERM asked the attempt to stop, and what was worth saving is saved."""


class Attempt:
    """One attempt of a job: RUN_DIR/attempts/<number>/ and what is written there."""

    def __init__(
        self,
        job_directory: Path,
        number: int,
        resume: Path | None,
        stop: StopRequest,
        *,
        silent: bool = False,
    ) -> None:
        self.job_directory = job_directory
        self.number = number
        self.resume = resume
        """The state to go on from; None to start from the beginning."""
        self.stop = stop
        self.directory = job_directory / "attempts" / str(number)
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "events.jsonl"
        self.events = SilentWriter(path) if silent else EventWriter(path)
        """Silent where another process speaks for this one."""

    def check_stop(self) -> None:
        """Raise StoppedError when SIGTERM has come; for places where nothing needs saving."""
        if self.stop.requested:
            raise StoppedError

    @contextmanager
    def output_directory(self) -> Iterator[Path]:
        """Give a directory to fill; on leaving without error it becomes output/ as a whole."""
        final = self.directory / "output"
        if final.exists():
            raise EngineError(
                BAD_INPUT,
                "attempt",
                f"attempt {self.number} has an output already",
                "Start it with another --attempt number, or remove that output.",
            )
        temporary = self.directory / "output.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            directory_publish(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)  # it would fill the disk for nothing
            raise


def config_read(job_directory: Path) -> Any:
    """Return the decoded DIR/config.json without its seals; ConfigError where there is none.

    Lines that begin with // are comments. No JSON text can have such a line: within a string a new
    line is written as an escape.
    """
    record = _config_decode(job_directory)
    if isinstance(record, dict):
        record.pop(FIELD, None)
    return record


def _config_decode(job_directory: Path) -> Any:
    try:
        text = (job_directory / "config.json").read_text(encoding="utf-8")
        return json.loads(_COMMENT_LINE.sub("", text))
    except FileNotFoundError:
        raise ConfigError("config.json", "is missing", "Write it into the directory.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError("config.json", f"is not JSON: {error}", "Mend it.") from None


def attempt_run(
    program: str, work: Callable[[Attempt, Any], None], arguments: list[str] | None = None
) -> int:
    """Parse the arguments, do `work(attempt, config)` and return the exit code.

    Every failure becomes one error event; what nobody foresaw also leaves a traceback on stderr.
    """
    options = _options(program, arguments)
    directory = Path(options.directory)
    if not directory.is_dir():
        sys.stderr.write(f"{program}: {directory} is not a directory\n")
        return BAD_INPUT
    stop = StopRequest().install()
    supervise_self(options.supervisor_fd)
    resume = Path(options.resume) if options.resume else None
    attempt = Attempt(directory, options.attempt, resume, stop)
    try:
        if seals := seals_read(_config_decode(directory)):
            attempt.events.progress(done=0, total=None, unit="files", phase="checking the files")
            seals_check(seals)
        work(attempt, config_read(directory))
    except StoppedError:
        return STOPPED
    except BaseException as error:  # the exit code and the last event must always tell
        failure = failure_tell(program, error)
        with suppress(OSError):  # on a full disk stderr alone has told
            if failure.metric is not None:
                attempt.events.metric(**failure.metric)
            attempt.events.error(where=failure.where, message=failure.message, cure=failure.cure)
        return failure.exit_code
    return DONE


def failure_tell(program: str, error: BaseException) -> EngineError:
    """Say on stderr what went wrong, with a traceback where nobody foresaw it, and return that."""
    failure = failure_of(error)
    if failure.exit_code == FAILED and failure is not error:
        traceback.print_exception(error)
    sys.stderr.write(f"{program}: {failure.where}: {failure.message}. {failure.cure}\n")
    return failure


def _options(program: str, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("directory", help="holds config.json; attempts/<N>/ is written below it")
    parser.add_argument("--attempt", type=int, default=0, help="number of this attempt")
    parser.add_argument("--resume", help="a complete state directory to go on from")
    parser.add_argument("--supervisor-fd", type=int, help="read end of the supervisor's pipe")
    return parser.parse_args(arguments)


def failure_of(error: BaseException) -> EngineError:
    """Say what an exception means to the user."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, ConfigError | SealError):
        return EngineError(BAD_INPUT, error.where, error.message, error.cure)
    if is_out_of_memory(error):
        return EngineError(OUT_OF_MEMORY, "memory", "memory ran out", _MEMORY_CURE)
    if is_disk_full(error):
        message = "the disk is full, or a file may not grow any more"
        cure = "Make room, then go on from the last saved state: it is as it was."
        return EngineError(FAILED, "files", message, cure)
    if isinstance(error, OSError) and error.errno is not None:
        message = f"{os.strerror(error.errno)}: {error.filename or 'a file'}"
        return EngineError(FAILED, "files", message, "Look at the disk's space and permissions.")
    message = f"{type(error).__name__}: {error}"
    return EngineError(FAILED, "engine", message, "See the log of this attempt.")


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, of Python's, safetensors' or torch's, says that a file cannot grow."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    text = str(error)
    numbers = (f"os error {number})" for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    # torch's writer does not say why, only that fewer bytes arrived than it had written.
    return any(number in text for number in numbers) or "inline_container" in text


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python's or of torch's, says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    # The last is all that oneDNN says when it gets no memory for a product.
    words = (
        *("can't allocate memory", "cannot allocate memory", "out of memory"),
        "could not create a primitive",
    )
    return isinstance(error, RuntimeError) and any(word in text for word in words)
