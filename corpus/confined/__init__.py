"""A model's own tokenizer and chat template, used in a process that may loop or swell by itself.

Both come with a model, and a template is a program. In a process with a limit on time and memory
they can stop or fill nothing but that: what asks gets an answer or, soon, a ConfinedError.
"""

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from engine.errors import ProblemError
from engine.modelcheck import Problem

CHECK_SECONDS = 8.0
SHOW_SECONDS = 30.0
"""By the clock: where the process gets a processor to itself, its own limit comes first."""
ANSWER_BYTES_MAX = 64 << 20
_IDLE_MAX = 2
_ROOT = Path(__file__).parent.parent.parent
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class ConfinedError(ProblemError):
    """The process ended before it had answered; `where` names the file that it was at."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a model's directory is like."""

    problems: Sequence[Problem]
    """Reasons to refuse it; empty where it can be used."""
    parameter_count: int = 0


def model_check(directory: Path) -> Check:
    """Look at every file of a model's directory that is read, and try its tokenizer and template.

    Takes at most ten seconds; memory as `corpus.confined.limits` says.
    """
    try:
        answer = _ask({"ask": "check", "directory": str(directory)}, CHECK_SECONDS)
    except ConfinedError as error:
        return Check(problems=[Problem(where=error.where, message=error.message, cure=error.cure)])
    return Check(
        problems=[Problem(**problem) for problem in answer["problems"]],
        parameter_count=answer["parameter_count"],
    )


def examples_show(directory: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Encode examples, lines of examples.jsonl, for display: {"pieces", "context_token_count",
    "decision_token_count"} or {"problem"} of each. Raises ConfinedError for all of them."""
    return _answers("examples", directory, records)


def decisions_show(directory: Path, records: Sequence[tuple[Mapping[str, Any], int]]) -> list[str]:
    """The texts of decisions, each named by its example and its place in it, from 0.

    Raises ConfinedError.
    """
    return _answers("decisions", directory, records)


def template_arguments_of(directory: Path) -> list[str]:
    """Return what a model's chat template can be given beside a conversation, such as
    enable_thinking. Raises ConfinedError."""
    request = {"ask": "arguments", "directory": str(directory)}
    names: list[str] = _ask(request, SHOW_SECONDS)["names"]
    return names


def _answers(what: str, directory: Path, records: Sequence[Any]) -> list[Any]:
    request = {"ask": what, "directory": str(directory), "records": records}
    answers: list[Any] = _ask(request, SHOW_SECONDS)["answers"]
    return answers


class _Process:
    """One such process. It ends with its standard input, so with the process that started it."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "corpus.confined"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            # No secrets of this process; one thread each, for threads take memory.
            env=environment
            | dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
            | {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(_ROOT)},
        )
        self._input = cast(IO[bytes], self._child.stdin)
        self._output = cast(IO[bytes], self._child.stdout)
        self.stage = ""
        """The file that it is at."""

    @property
    def is_alive(self) -> bool:
        return self._child.poll() is None

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to one request; raises ConfinedError, and is of no use after that."""
        self.stage = ""
        try:
            self._input.write(json.dumps(request).encode() + b"\n")
            self._input.flush()
            for line in self._lines(time.monotonic() + seconds):
                message: dict[str, Any] = json.loads(line)
                if "stage" not in message:
                    return message
                self.stage = message["stage"]
        except OSError:
            pass  # it has ended
        raise self._given_up()

    def _lines(self, deadline: float) -> Iterator[bytes]:
        """What it says until then, or until it has said too much or has ended."""
        pending = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while len(pending) < ANSWER_BYTES_MAX:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return
                if not (more := os.read(self._output.fileno(), 1 << 20)):
                    return
                pending += more
                if b"\n" in more:
                    *lines, pending = pending.split(b"\n")
                    yield from map(bytes, lines)

    def _given_up(self) -> ConfinedError:
        self.close()
        message = (
            "was given up: it takes gigabytes of memory, or keeps the processor busy without an end"
        )
        cure = "Export the model again, or register it with another tokenizer and chat template."
        return ConfinedError(message, cure, where=self.stage or "the model")

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.communicate()


_lock = threading.Lock()
_idle: list[_Process] = []


def _ask(request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Ask a process that nobody else asks now; one that has answered is kept for the next."""
    process = _taken()
    try:
        answer = process.ask(request, seconds)
    except BaseException:
        process.close()
        raise
    with _lock:
        if len(_idle) < _IDLE_MAX:
            _idle.append(process)
            return answer
    process.close()
    return answer


def _taken() -> _Process:
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.is_alive:
                return process
            process.close()
    return _Process()


@atexit.register
def _close_all() -> None:
    with _lock:
        while _idle:
            _idle.pop().close()
