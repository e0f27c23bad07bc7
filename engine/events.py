"""The event log that an engine writes and its supervisor follows.

One JSON object a line: {"event": <name>, "time_seconds": <unix time>, ...fields}. A line is
written with a single write to an append-only descriptor, so a reader never sees two events mixed
and at worst finds the last line unfinished. No torch here: the portal reads with this module.
"""

import errno
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self


def finite(value: Any) -> Any:
    """Return value with every NaN and infinity replaced by None, for JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


class EventWriter:
    """Appends events to one file. Creates the file and its directories when they are missing."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o644)
        self._is_torn = False
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        # An engine that was killed while writing leaves half a line; ours must not be glued to it.
        size_bytes = os.fstat(self._descriptor).st_size
        if size_bytes and os.pread(self._descriptor, 1, size_bytes - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def close(self) -> None:
        """Close the file. Writing afterwards is an error."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        record = {"event": event, "time_seconds": time.time(), **finite(fields)}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        data = line.encode("utf-8", errors="replace")
        # What a full disk has cut off is ended first, once there is room again.
        whole, self._is_torn = (b"\n" + data if self._is_torn else data), True
        if os.write(self._descriptor, whole) < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._is_torn = False

    def progress(
        self,
        *,
        done: float,
        total: float | None,
        unit: str,
        phase: str,
        seconds_left: float | None = None,
    ) -> None:
        """Say how far the work is: `done` of `total` `unit`s (total None: not known yet)."""
        fields = {"done": done, "total": total, "unit": unit, "phase": phase}
        self._write("progress", {**fields, "seconds_left": seconds_left})

    def metric(self, *, step: int, values: Mapping[str, float | None]) -> None:
        """Record named numbers at one step; units stand in the names."""
        self._write("metric", {"step": step, "values": dict(values)})

    def warning(self, *, where: str, message: str) -> None:
        """Tell the user of something that does not stop the work."""
        self._write("warning", {"where": where, "message": message})

    def saved(self, *, step: int, path: Path | str) -> None:
        """Name a complete state that a later attempt can resume from."""
        self._write("saved", {"step": step, "path": str(path)})

    def error(self, *, where: str, message: str, cure: str) -> None:
        """Say what stopped the work, where (field, line, step), and what to do about it."""
        self._write("error", {"where": where, "message": message, "cure": cure})

    def done(self, *, summary: Mapping[str, Any]) -> None:
        """Say that the output is complete; the last event of a successful attempt."""
        self._write("done", {"summary": dict(summary)})


class SilentWriter(EventWriter):
    """Writes nothing: for a process that another one speaks for."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def close(self) -> None:
        """Do nothing, for nothing is open."""

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Drop the event."""


def read_events(
    path: Path | str, offset_bytes: int = 0, *, limit_bytes: int | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Read the events after `offset_bytes`: all, or about `limit_bytes` of them, at least one.

    Returns the events and the offset to pass next time. A missing file has no events. An unfinished
    last line is left for the next call. A finished line that is not a JSON object (the remains of a
    killed writer) is passed over.
    """
    try:
        with Path(path).open("rb") as file:
            file.seek(offset_bytes)
            data = file.read(-1 if limit_bytes is None else limit_bytes)
            if len(data) == limit_bytes and b"\n" not in data:
                data += file.readline()
    except FileNotFoundError:
        return [], offset_bytes
    complete = data[: data.rfind(b"\n") + 1]
    events = []
    for line in complete.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "event" in record:
            events.append(record)
    return events, offset_bytes + len(complete)
