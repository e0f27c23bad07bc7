"""What a file is by its first bytes, and its content unpacked, bounded in size.

Nobody can mend "line 1 is not JSON" of a zip archive: what is not read is named as what it is.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from corpus.records.record import FileError, not_utf8

RATIO_MAX = 200
"""How many times a packed file may grow; text grows ten times, a bomb a thousand."""
_RATIO_FREE_BYTES = 64 << 20
"""Up to this size any growth is harmless."""
_HEAD_BYTES = 4096
_PACKED_BYTES = 1 << 12
"""Of a zstd file that are unpacked at once: a bomb makes ten thousand times as much of them."""

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive (Excel and Word files are such too)", "Unpack it"),
    (0, b"PK\x05\x06", "an empty zip archive", "Pack the file again"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it"),
    (0, b"Rar!", "a RAR archive", "Unpack it"),
    (0, b"BZh", "packed with bzip2", "Unpack it with bunzip2"),
    (0, b"\xfd7zXZ", "packed with xz", "Unpack it with unxz"),
    (0, b"\x04\x22\x4d\x18", "packed with LZ4", "Unpack it with unlz4"),
    (257, b"ustar", "a tar archive", "Unpack it"),
    (0, b"\x89PNG", "a PNG picture", "Only text can be trained on"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "Only text can be trained on"),
    (0, b"GIF8", "a GIF picture", "Only text can be trained on"),
    (0, b"RIFF", "a sound, film or WebP picture", "Only text can be trained on"),
    (0, b"%PDF", "a PDF document", "Take the text out of it"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document", "Save it as CSV"),
    (0, b"SQLite format 3", "an SQLite database", "Export the table as CSV"),
    (0, b"ARROW1", "an Arrow file", "Save it as Parquet or JSON lines"),
    (0, b"Obj\x01", "an Avro file", "Save it as Parquet or JSON lines"),
    (0, b"\x89HDF", "an HDF5 file", "Save it as Parquet or JSON lines"),
    (0, b"\x93NUMPY", "a NumPy array", "Upload the text that it was made of"),
    (0, b"GGUF", "a model in GGUF", "Register it under Models"),
    (0, b"\x7fELF", "a program", "Choose the file of examples"),
    (0, b"\x80\x02", "a pickle of Python", "It could run code: save it as JSON lines"),
    (0, b"\x80\x03", "a pickle of Python", "It could run code: save it as JSON lines"),
    (0, b"\x80\x04", "a pickle of Python", "It could run code: save it as JSON lines"),
    (0, b"\x80\x05", "a pickle of Python", "It could run code: save it as JSON lines"),
    (0, b"<!DOCTYPE", "a web page", "Download the file itself, not the page around it"),
    (0, b"<!doctype", "a web page", "Download the file itself, not the page around it"),
    (0, b"<html", "a web page", "Download the file itself, not the page around it"),
    (0, b"<?xml", "XML", "Convert it to JSON lines"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file", "Run git lfs pull"),
)
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a file, unpacked where it was packed."""

    stream: IO[bytes]
    """At its beginning, past a mark of UTF-8."""
    head: bytes
    """The first bytes of the stream."""
    packed: IO[bytes]
    """The file itself, whose position says how far reading has come."""
    is_packed: bool

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file."""
        return self.head.startswith(_PARQUET)


@contextmanager
def content_open(path: Path, *, max_expanded_bytes: int) -> Iterator[Content]:
    """Open a file and unpack gzip and zstd; FileError for what is not read, named as what it is."""
    with path.open("rb") as packed:
        head = packed.read(_HEAD_BYTES)
        packed.seek(0)
        stream: IO[bytes] = packed
        is_packed = head.startswith((_GZIP, _ZSTD))
        if is_packed:
            limit = min(max_expanded_bytes, max(_RATIO_FREE_BYTES, RATIO_MAX * path.stat().st_size))
            stream = _Unpacked(packed, head, limit)
            head = stream.peek(_HEAD_BYTES)
            if head.startswith((_GZIP, _ZSTD)):
                raise FileError("the file is packed twice", "Unpack it once, and upload that.")
        _named_check(head)
        _encoding_check(head)
        if is_packed and head.startswith(_PARQUET):
            raise FileError(
                "a Parquet file inside another package", "Upload the Parquet file itself."
            )
        if head.startswith(codecs.BOM_UTF8):
            stream.read(len(codecs.BOM_UTF8))
            head = head[len(codecs.BOM_UTF8) :]
        yield Content(stream=stream, head=head, packed=packed, is_packed=is_packed)


def _named_check(head: bytes) -> None:
    for at, magic, name, cure in _MAGIC:
        if head[at : at + len(magic)] == magic:
            raise FileError(f"the file is {name}", f"{cure}.")


def _encoding_check(head: bytes) -> None:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise not_utf8("it begins with the mark of UTF-32")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise not_utf8("it begins with the mark of UTF-16")
    if head.startswith(_PARQUET):
        return
    start = head[:400]
    if len(start) > 3 and start.count(b"\0") * 3 > len(start):
        raise not_utf8("every other byte is zero, as in UTF-16 without a mark")


class _Unpacked(io.BufferedReader):
    """The unpacked bytes of a file; FileError past the limit, or where the package is broken."""

    def __init__(self, packed: IO[bytes], head: bytes, limit_bytes: int) -> None:
        reader: Any
        if head.startswith(_GZIP):
            reader = gzip.GzipFile(fileobj=packed, mode="rb")
        else:
            reader = _Zstd(packed)
        super().__init__(cast(Any, _Bounded(reader, limit_bytes)), 1 << 18)


class _Zstd:
    """The frames of a zstd file one after another; EOFError where the last one does not end.

    The library's own reader takes a file that was cut off for one that ends there.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame: Any = None
        self._waiting = b""
        self._unpacked = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        while not self._unpacked:
            data = self._waiting or self._packed.read(_PACKED_BYTES)
            self._waiting = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("its last frame does not end")
                return b""
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._unpacked = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._waiting, self._frame = self._frame.unused_data, None
        data, self._unpacked = bytes(self._unpacked[:size]), self._unpacked[size:]
        return data


class _Bounded(io.RawIOBase):
    def __init__(self, reader: Any, limit_bytes: int) -> None:
        super().__init__()
        self._reader = reader
        self._limit_bytes = limit_bytes
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._reader.read(len(buffer))
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise FileError(
                f"the package is broken: {error}",
                "Pack the file again, and upload the whole of it.",
            ) from error
        self._count += len(data)
        if self._count > self._limit_bytes:
            raise FileError(
                f"unpacked it is larger than the limit of {self._limit_bytes:,} bytes",
                "Split it into several files.",
            )
        buffer[: len(data)] = data
        return len(data)
