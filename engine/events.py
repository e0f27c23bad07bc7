"""The event log that an engine writes and its supervisor follows.

One JSON object a line: {"event": <name>, "time_seconds": <unix time>, ...fields}, the fields being
those of one of the dataclasses here, which writer and reader share. A line is written with a single
write to an append-only descriptor, so a reader never sees two events mixed and at worst finds the
last line unfinished. No torch here: the portal reads with this module.
"""

import errno
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from engine.numbers import finite, finite_or_none, is_number


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the work is: `done` of `total` `unit`s."""

    done: float | None
    total: float | None
    """None: not known yet."""
    unit: str
    phase: str
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Named numbers at one step; units stand in the names. None: not finite."""

    step: int
    values: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something that the user should know and that does not stop the work; "warning" in the log."""

    where: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a model has written so far of the answer `key`: the whole of it, not what is new."""

    key: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A complete state that a later attempt can resume from."""

    step: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What stopped the work, where (field, line, step), and the cure; "error" in the log."""

    where: str
    message: str
    cure: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """The output is complete; the last event of a successful attempt."""

    summary: Mapping[str, Any]


Event = Progress | Metric | Caution | Text | Saved | Failure | Done

NAMES: dict[type[Event], str] = {
    Progress: "progress",
    Metric: "metric",
    Caution: "warning",
    Text: "text",
    Saved: "saved",
    Failure: "error",
    Done: "done",
}
"""What each is called in the log."""
UNREADABLE = "events.jsonl"
"""`where` of a Caution that the reader itself gives."""
_LINE_SHOWN_BYTES = 200
_TYPES = {name: cls for cls, name in NAMES.items()}


def event_parse(line: bytes) -> Event:
    """The event of one line of a log; ValueError says what does not fit.

    Fields that the event does not have are an error too: what an engine says is never dropped.
    """
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    cls = _TYPES.get(str(record.pop("event", "")))
    if cls is None:
        raise ValueError("its event has no name that is known")
    record.pop("time_seconds", None)
    names = {one.name for one in fields(cls)}
    if record.keys() != names:
        differing = ", ".join(sorted(map(repr, record.keys() ^ names)))
        raise ValueError(f"a {NAMES[cls]} has other fields ({differing})")
    return cls(**{name: _field(cls, name, value) for name, value in record.items()})


def _field(cls: type[Event], name: str, value: Any) -> Any:
    """A field's value, checked: which type it must have follows from its name alone."""
    if name == "values":
        good = isinstance(value, dict) and all(
            one is None or is_number(one) for one in value.values()
        )
        value = {key: finite_or_none(one) for key, one in value.items()} if good else value
    elif name == "summary":
        good = isinstance(value, dict)
    elif name == "step":
        good = is_number(value) and isinstance(value, int) and value >= 0
    elif name in ("done", "total", "seconds_left"):
        good = value is None or is_number(value)
        value = finite_or_none(value) if good else value
    else:
        good = isinstance(value, str)
    if not good:
        raise ValueError(f"the {name} of a {NAMES[cls]} is {value!r:.80}")
    return value


class EventWriter:
    """Appends events to one file. Creates the file and its directories when they are missing."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
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

    def _write(self, event: Event) -> None:
        record = {"event": NAMES[type(event)], "time_seconds": time.time(), **finite(vars(event))}
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
        self._write(
            Progress(done=done, total=total, unit=unit, phase=phase, seconds_left=seconds_left)
        )

    def metric(self, *, step: int, values: Mapping[str, float | None]) -> None:
        """Record named numbers at one step; units stand in the names."""
        self._write(Metric(step=step, values=values))

    def warning(self, *, where: str, message: str) -> None:
        """Tell the user of something that does not stop the work."""
        self._write(Caution(where=where, message=message))

    def text(self, *, key: str, text: str) -> None:
        """Show how much of an answer there is; every event has the whole of it."""
        self._write(Text(key=key, text=text))

    def saved(self, *, step: int, path: Path | str) -> None:
        """Name a complete state that a later attempt can resume from."""
        self._write(Saved(step=step, path=str(path)))

    def error(self, *, where: str, message: str, cure: str) -> None:
        """Say what stopped the work, where (field, line, step), and what to do about it."""
        self._write(Failure(where=where, message=message, cure=cure))

    def done(self, *, summary: Mapping[str, Any]) -> None:
        """Say that the output is complete; the last event of a successful attempt."""
        self._write(Done(summary=summary))


class SilentWriter(EventWriter):
    """Writes nothing: for a process that another one speaks for."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def close(self) -> None:
        """Do nothing, for nothing is open."""

    def _write(self, event: Event) -> None:
        """Drop the event."""


def read_events(
    path: Path | str, offset_bytes: int = 0, *, limit_bytes: int | None = None
) -> tuple[list[Event], int]:
    """Read the events after `offset_bytes`: all, or about `limit_bytes` of them, at least one.

    Returns the events and the offset to pass next time. A missing file has no events. An unfinished
    last line is left for the next call. A finished line that is not an event (the remains of a
    killed writer, say) stands in its place as a Caution that says what was not understood.
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
    events = [_event_or_caution(line) for line in complete.split(b"\n") if line.strip()]
    return events, offset_bytes + len(complete)


def _event_or_caution(line: bytes) -> Event:
    try:
        return event_parse(line)
    except ValueError as error:
        begins = line[:_LINE_SHOWN_BYTES].decode("utf-8", "replace")
        message = f"A line of the log was not understood: {error}. It begins: {begins}"
        return Caution(where=UNREADABLE, message=message)
