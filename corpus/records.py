"""Streams the records of an uploaded file: JSON lines, or one JSON array. No torch here.

Memory is bounded by the limit for one record, whatever the file's size.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from corpus.examples import ExampleError, constant_refuse, depth_check, json_decode, not_json
from engine.errors import ProblemError

_CHUNK_BYTES = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_SEPARATOR = re.compile(r"[ \t\r\n,]*")


class FileError(ProblemError):
    """The file as a whole cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of a file: its decoded JSON, or what is wrong with it."""

    line: int
    """Where it begins, counted from 1; in an array file too."""
    value: Any
    """The decoded JSON; None where there is an error."""
    error: ExampleError | None
    end_bytes: int
    """How far into the file reading has come."""


def records_read(path: Path, *, max_record_bytes: int) -> Iterator[Record]:
    """Yield the records of a file; empty lines are passed over.

    A file whose first character is [ is one JSON array, any other is JSON lines. A record that is
    too long, nested too deep, or no JSON is yielded with its error. An array cannot be read past
    an element that is broken, so it ends there. Raises FileError for what is wrong with the whole
    file: empty, or not UTF-8.
    """
    with path.open("rb") as file:
        start = file.read(4096)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _not_utf8("it begins with the mark of UTF-16")
        start_bytes = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
        file.seek(start_bytes)
        is_array = start[start_bytes:].lstrip().startswith(b"[")
        read = _array_read if is_array else _lines_read
        has_records = False
        for record in read(file, max_record_bytes):
            has_records = True
            yield record
    if not has_records:
        raise FileError("the file is empty", "Choose a file with at least one example.")


def _not_utf8(detail: str) -> FileError:
    return FileError(f"the file is not UTF-8 text: {detail}", "Save it as UTF-8.")


def _too_long(max_record_bytes: int) -> ExampleError:
    return ExampleError(
        f"longer than the limit of {max_record_bytes:,} bytes",
        "Split the conversation, or leave it out.",
    )


def _attempt(decode: Callable[[], Any]) -> tuple[Any, ExampleError | None]:
    try:
        return decode(), None
    except ExampleError as error:
        return None, error


def _lines_read(file: IO[bytes], max_record_bytes: int) -> Iterator[Record]:
    number = 0
    while data := file.readline(max_record_bytes + 1):
        number += 1
        if len(data) > max_record_bytes:
            while data and not data.endswith(b"\n"):
                data = file.readline(_CHUNK_BYTES)
            error: ExampleError | None = _too_long(max_record_bytes)
            yield Record(line=number, value=None, error=error, end_bytes=file.tell())
            continue
        text = _line_decode(data, number)
        if text.strip():
            value, error = _attempt(partial(json_decode, text))
            yield Record(line=number, value=value, error=error, end_bytes=file.tell())


def _line_decode(data: bytes, number: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        byte = data[error.start]
        where = f"line {number} has byte 0x{byte:02x} at position {error.start + 1}"
        raise _not_utf8(where) from None


class _BrokenError(ExampleError):
    """An element of an array whose end cannot be found, so nothing after it can be read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "Mend this example; what follows it could not be read.")


class _Array:
    """The part of an array file that is in memory, and how far it was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
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
        data = self.file.read(max(_CHUNK_BYTES, self.pending))
        self.ended = not data
        try:
            text = self.utf8.decode(data, final=self.ended)
        except UnicodeDecodeError:
            raise _not_utf8(f"a byte after line {self.line}") from None
        self.text = self.text[self.position :] + text
        self.position = 0

    def move(self, position: int) -> None:
        """Go on to a position of the text, counting lines."""
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Pass over what matches, reading on where needed; return the next character or ""."""
        while True:
            match = pattern.match(self.text, self.position)
            self.move(match.end() if match else self.position)
            if self.pending or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()


def _array_read(file: IO[bytes], max_record_bytes: int) -> Iterator[Record]:
    array = _Array(file)
    array.skip(_SPACE)
    array.move(array.position + 1)
    while (character := array.skip(_SEPARATOR)) not in ("", "]"):
        line = array.line
        value, error = _attempt(partial(_element_take, array, max_record_bytes))
        yield Record(line=line, value=value, error=error, end_bytes=file.tell())
        if isinstance(error, _BrokenError):
            return
    ending = _ending_check(array, character)
    if ending is not None:
        yield Record(line=array.line, value=None, error=ending, end_bytes=file.tell())


def _ending_check(array: _Array, character: str) -> ExampleError | None:
    if not character:
        return ExampleError("the array does not end: its ] is missing", "Upload the whole file.")
    array.move(array.position + 1)
    if array.skip(_SPACE):
        return ExampleError("text follows the end of the array", "Put all into one array.")
    return None


def _element_take(array: _Array, max_record_bytes: int) -> Any:
    """Decode the array's next element and pass over it; ExampleError where it cannot be used."""
    decoder = json.JSONDecoder(parse_constant=constant_refuse)
    while True:
        try:
            value, end = decoder.raw_decode(array.text, array.position)
            break
        except RecursionError:
            raise _BrokenError("brackets nested too deep") from None
        except ValueError as error:
            if array.ended:
                raise _BrokenError(not_json(error).message) from None
            if array.pending > max_record_bytes:
                raise _BrokenError(_too_long(max_record_bytes).message) from None
            array.more()
    length = end - array.position
    array.move(end)
    if length > max_record_bytes:
        raise _too_long(max_record_bytes)
    depth_check(value)
    return value
