"""One record of a file, decoded when it is asked for, and what can be wrong with a whole file."""

from dataclasses import dataclass
from typing import Any

from corpus.fields import Notice
from corpus.jsontext import ExampleError, json_decode
from engine.errors import ProblemError


class FileError(ProblemError):
    """The file as a whole cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of a file: its JSON, decoded or not, or what is wrong with it."""

    line: int
    """Where it begins, counted from 1; in an array or a table too."""
    end_bytes: int
    """How far into the file reading has come."""
    raw: bytes | None = None
    """Its line, where it is one and was not decoded yet."""
    decoded: Any = None
    error: ExampleError | None = None
    notices: tuple[Notice, ...] = ()
    """What is said of it whatever it holds."""

    def value(self) -> Any:
        """Return the decoded JSON; ExampleError where it cannot be used, FileError if not UTF-8."""
        if self.error is not None:
            raise self.error
        return self.decoded if self.raw is None else json_decode(utf8_decode(self.raw, self.line))


def utf8_decode(data: bytes, line: int) -> str:
    """Decode the bytes of a line; FileError names the byte that is wrong and what it may be."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        byte = data[error.start]
        where = f"line {line} has byte 0x{byte:02x} at position {error.start + 1}"
        raise not_utf8(where) from None


def not_utf8(detail: str) -> FileError:
    """The refusal of a file in another encoding."""
    return FileError(
        f"the file is not UTF-8 text: {detail}",
        "Save it as UTF-8; a file of Windows or of Excel is often in Windows-1252: "
        "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW.",
    )


def too_long(max_record_bytes: int) -> ExampleError:
    """The refusal of a record above the limit."""
    return ExampleError(
        f"longer than the limit of {max_record_bytes:,} bytes",
        "Split the conversation, or leave it out.",
    )
