"""The parts of a pass: files that are written one after another, kept over attempts, then joined.

A part is never written again once a state names it, so an attempt that goes on from a state takes
the parts of the attempts before it as they are.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from engine.attempt import Attempt
from engine.states import state_begin, state_check, state_complete, state_step, state_temporary

SAVE_EVERY_SECONDS = 4.0
"""A killed attempt loses no more than this and the part it was at."""


class Progress:
    """Tells how far a pass has come in a file, and how long the rest will take."""

    def __init__(self, attempt: Attempt, phase: str, total_bytes: int) -> None:
        self._attempt = attempt
        self._phase = phase
        self._total_bytes = total_bytes
        self.start(0)

    def start(self, from_bytes: int) -> None:
        """Begin at this byte: what came before it was read by an earlier attempt."""
        self._from_bytes = from_bytes
        self._began = time.monotonic()

    def tell(self, done_bytes: int) -> None:
        """Write an event."""
        passed = time.monotonic() - self._began
        read = max(1, done_bytes - self._from_bytes)
        self._attempt.events.progress(
            done=done_bytes,
            total=self._total_bytes,
            unit="bytes",
            phase=self._phase,
            seconds_left=passed * (self._total_bytes - done_bytes) / read,
        )


def _append(file: IO[bytes], joined: IO[bytes]) -> None:
    """Append a file to another, inside the kernel where it can."""
    left = os.fstat(file.fileno()).st_size
    try:
        while left:
            left -= os.copy_file_range(file.fileno(), joined.fileno(), left)
    except OSError:  # across file systems, or one that does not know how
        shutil.copyfileobj(file, joined, 1 << 20)


class Parts:
    """The parts that a pass has written, in this attempt and in those before it."""

    def __init__(
        self,
        attempt: Attempt,
        name: str,
        *,
        saves: bool,
        targets: Mapping[str, Path] | None = None,
    ) -> None:
        """saves: whether states are written, for another attempt to go on from.

        targets: suffix -> the file to which the parts' files with this suffix are joined as they
        come.
        """
        self._attempt = attempt
        self._saves = saves
        self._directory = attempt.directory / f"{name}-parts"
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        self._states = attempt.directory / "states"
        self._saved = 0
        self.names: list[str] = []
        """Paths of the parts below the job's directory, without their suffixes."""
        self._targets = targets or {}
        for target in self._targets.values():
            target.touch()

    def resume(self) -> dict[str, Any] | None:
        """What the state holds that this attempt goes on from; None from the beginning."""
        state = self._attempt.resume
        if state is None or not self._saves:
            return None
        state_check(state)
        record: dict[str, Any] = json.loads((state / "state.json").read_bytes())
        self.names = record["parts"]
        self._saved = state_step(state)
        for name in self.names:
            self._join(name)
        return record

    def next_path(self, ahead: int = 0) -> Path:
        """Where the next part is written, or one after it; its files have suffixes of their own."""
        return self._directory / f"{len(self.names) + ahead:06d}"

    def add(self, path: Path) -> None:
        """Take a part that is finished."""
        self.names.append(path.relative_to(self._attempt.job_directory).as_posix())
        self._join(self.names[-1])

    def _join(self, name: str) -> None:
        for suffix, target in self._targets.items():
            with (
                (self._attempt.job_directory / f"{name}{suffix}").open("rb") as file,
                target.open("r+b") as joined,
            ):
                joined.seek(0, os.SEEK_END)  # the kernel copies to no file opened to append
                _append(file, joined)

    def save(self, record: Mapping[str, Any]) -> None:
        """Write a state with what the pass needs to go on after these parts."""
        if not self._saves:
            return
        self._saved += 1
        temporary = state_temporary(self._states, self._saved)
        state_begin(temporary)
        text = json.dumps({**record, "parts": self.names})
        (temporary / "state.json").write_text(text, encoding="utf-8")
        self._attempt.events.saved(step=self._saved, path=state_complete(temporary))

    def _paths(self, suffix: str) -> Iterator[Path]:
        for name in self.names:
            yield self._attempt.job_directory / f"{name}{suffix}"

    def lines(self, suffix: str) -> Iterator[bytes]:
        """The lines of all parts' files with this suffix, in order."""
        for path in self._paths(suffix):
            with path.open("rb") as file:
                yield from file

    def drop(self) -> None:
        """Take the parts away: what they held is in the output."""
        for directory in {path.parent for path in self._paths("")} | {self._directory}:
            shutil.rmtree(directory, ignore_errors=True)
