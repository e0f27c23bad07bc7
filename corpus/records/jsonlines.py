"""JSON lines, JSON arrays and pretty-printed objects one after another."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import IO, Any

from corpus.jsontext import ExampleError, not_json, value_take
from corpus.records.containers import Content
from corpus.records.record import Record, not_utf8, too_long

_CHUNK_BYTES = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


def raw_lines_read(
    stream: IO[bytes], max_record_bytes: int, *, first_line: int = 1
) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number and the bytes of each line that is not empty; None for one too long.

    first_line: the number of the stream's next line.
    """
    for number in count(first_line):
        data = stream.readline(max_record_bytes + 2)
        if not data:
            return
        if len(data) > max_record_bytes and not data.endswith(b"\n"):
            while data and not data.endswith(b"\n"):
                data = stream.readline(_CHUNK_BYTES)
            yield number, None
        elif not data.isspace():
            yield number, data.rstrip(b"\r\n")


def lines_read(
    stream: IO[bytes], max_record_bytes: int, *, tell: Callable[[], int]
) -> Iterator[Record]:
    """Yield a record for each line that is not empty; one too long is yielded with its error.

    tell: how far into the file reading has come.
    """
    for number, raw in raw_lines_read(stream, max_record_bytes):
        yield line_record(number, raw, max_record_bytes, end_bytes=tell())


def line_record(
    number: int, raw: bytes | None, max_record_bytes: int, *, end_bytes: int = 0
) -> Record:
    """Return the record of a line that `raw_lines_read` yielded."""
    error = too_long(max_record_bytes) if raw is None else None
    return Record(line=number, raw=raw, error=error, end_bytes=end_bytes)


def is_array(content: Content) -> bool:
    """Whether the first sign of the content opens an array."""
    return content.head.lstrip().startswith(b"[")


def is_pretty(content: Content) -> bool:
    """Whether the content is objects that go over several lines, not one a line."""
    lines = [line for line in content.head.split(b"\n") if line.strip()]
    if not lines or not lines[0].lstrip().startswith(b"{"):
        return False
    if len(lines) < 2 or _is_json(lines[0]):
        return False
    return not (lines[1].startswith(b"{") and len(lines) > 2)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class _BrokenError(ExampleError):
    """A value whose end cannot be found, so nothing after it can be read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "Mend this example; what follows it could not be read.")


class _Text:
    """The part of a file that is in memory, and how far it was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.utf8 = codecs.getincrementaldecoder("utf-8")()
        self.text = ""
        self.position = 0
        self.line = 1
        self.ended = False

    @property
    def pending(self) -> int:
        """Characters in memory that were not read yet."""
        return len(self.text) - self.position

    def more(self) -> None:
        """Append a chunk at least as long as what is pending, so that trying again stays cheap."""
        data = self.stream.read(max(_CHUNK_BYTES, self.pending))
        self.ended = not data
        try:
            text = self.utf8.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise not_utf8(f"a byte 0x{byte:02x} after line {self.line}") from None
        self.text = self.text[self.position :] + text
        self.position = 0

    def move(self, position: int) -> None:
        """Go on to a position of the text, counting lines."""
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def next_sign(self) -> str:
        """Pass over space, reading on where needed; return the next character or ""."""
        while True:
            match = _SPACE.match(self.text, self.position)
            self.move(match.end() if match else self.position)
            if self.pending or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()


def pretty_read(content: Content, max_record_bytes: int) -> Iterator[Record]:
    """Yield objects that stand one after another, over as many lines as they like."""
    text = _Text(content.stream)
    while text.next_sign():
        record = _record_take(text, content, max_record_bytes)
        yield record
        if isinstance(record.error, _BrokenError):
            return


def array_read(content: Content, max_record_bytes: int) -> Iterator[Record]:
    """Yield the elements of an array; it ends at one whose end cannot be found."""
    text = _Text(content.stream)
    text.next_sign()
    text.move(text.position + 1)
    sign = text.next_sign()
    while sign not in ("", "]"):
        record = _record_take(text, content, max_record_bytes)
        yield record
        if isinstance(record.error, _BrokenError):
            return
        sign = text.next_sign()
        problem = None
        if sign == ",":
            text.move(text.position + 1)
            sign = text.next_sign()
            if sign == "]":
                problem = ExampleError(
                    "not JSON: a comma stands before the closing bracket", "Take it out."
                )
        elif sign not in ("", "]"):
            problem = _BrokenError("not JSON: a comma is missing between two examples")
        if problem is not None:
            yield Record(line=text.line, error=problem, end_bytes=content.packed.tell())
        if isinstance(problem, _BrokenError):
            return
    ending = _ending_check(text, sign)
    if ending is not None:
        yield Record(line=text.line, error=ending, end_bytes=content.packed.tell())


def _ending_check(text: _Text, sign: str) -> ExampleError | None:
    if not sign:
        return ExampleError("the array does not end: its ] is missing", "Upload the whole file.")
    text.move(text.position + 1)
    if text.next_sign():
        return ExampleError("text follows the end of the array", "Put all into one array.")
    return None


def _record_take(text: _Text, content: Content, max_record_bytes: int) -> Record:
    line = text.line
    value, error = None, None
    try:
        value = _value_take(text, max_record_bytes)
    except ExampleError as problem:
        error = problem
    return Record(line=line, decoded=value, error=error, end_bytes=content.packed.tell())


def _value_take(text: _Text, max_record_bytes: int) -> Any:
    """Decode the next value and pass over it; ExampleError where it cannot be used."""
    while True:
        try:
            value, end = value_take(text.text, text.position)
            break
        except json.JSONDecodeError as error:
            if text.ended:
                raise _BrokenError(not_json(error).message) from None
            if text.pending > max_record_bytes:
                raise _BrokenError(too_long(max_record_bytes).message) from None
            text.more()
        except ExampleError as error:  # its end is not known, for it was refused on the way
            if not text.ended and text.pending <= max_record_bytes:
                text.more()
                continue
            raise _BrokenError(error.message) from None
    length = end - text.position
    text.move(end)
    if length > max_record_bytes:
        raise too_long(max_record_bytes)
    return value
