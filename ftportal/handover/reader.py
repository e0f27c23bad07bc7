"""Reads a sequence of files as one, checking every byte against its manifest before it is given on.

The web server reads from it as slowly as the client takes it, in its own loop, so a download costs
neither a thread nor memory: at any time one piece of one file is held.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from engine.errors import ProblemError

PIECE_BYTES = 1 << 18


class FileDamagedError(ProblemError):
    """A file is not what its manifest says; `where` is its name."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a download: bytes that are at hand, or a file with its SHA-256."""

    name: str = ""
    size_bytes: int
    content: bytes = b""
    path: Path | None = None
    sha256: str = ""

    def stat_check(self) -> None:
        """Raise FileDamagedError where the file has gone or has another size."""
        if self.path is None:
            return
        try:
            size_bytes = self.path.stat().st_size
        except OSError:
            raise damaged(self, "it is missing") from None
        if size_bytes != self.size_bytes:
            raise damaged(self, f"it has {size_bytes:,} bytes, not {self.size_bytes:,}")


def damaged(part: Part, problem: str) -> FileDamagedError:
    """The error for a part that does not hold."""
    cure = "Put the file back as it was from a copy."
    return FileDamagedError(
        f"{part.name} was changed on the disk: {problem}.", cure, where=part.name
    )


@dataclass
class _Open:
    """A file that is read from its beginning on, and the hash of what was read."""

    part: Part
    file: BinaryIO
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    read_bytes: int = 0

    def piece(self) -> bytes:
        """The next piece; the last one only once the whole file has proved right."""
        piece = self.file.read(min(PIECE_BYTES, self.part.size_bytes - self.read_bytes))
        if not piece:
            raise damaged(self.part, "it ends too early")
        self.digest.update(piece)
        self.read_bytes += len(piece)
        if self.read_bytes == self.part.size_bytes and self.digest.hexdigest() != self.part.sha256:
            raise damaged(self.part, "its SHA-256 is not the one that was kept")
        return piece


class CheckedReader:
    """The bytes from `start` up to `stop` of the parts, one after another, as a file to read from.

    Positions count from `start`. Reading ahead is what it is made for; going back further than a
    piece begins the file again.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        start: int,
        stop: int,
        on_damage: Callable[[FileDamagedError], None],
    ) -> None:
        self._parts = [part for part in parts if part.size_bytes]
        self._starts = [0, *accumulate(part.size_bytes for part in self._parts)]
        self._start, self._stop = start, stop
        self._position = 0
        self._on_damage = on_damage
        self._open: _Open | None = None
        self._piece, self._piece_start = b"", 0
        self._error: FileDamagedError | None = None

    def prepare(self) -> None:
        """Do beforehand what would take long later. Raises FileDamagedError.

        A range that begins or ends inside a file needs the rest of that file hashed too.
        """
        for part in self._parts:
            part.stat_check()
        if self._start < self._stop:
            last = self._number(self._stop - 1)
            if self._stop < self._starts[last + 1]:
                self._piece_at(self._starts[last])
                while self._open and self._open.read_bytes < self._open.part.size_bytes:
                    self._open.piece()
            self._piece_at(self._start)

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins, from `start`."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position, as files do."""
        base = (0, self._position, self._stop - self._start)[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes, at most to the end of a piece; empty at the end.

        Raises FileDamagedError, after telling `on_damage`, where a file is not what it was.
        """
        left = self._stop - self._start - self._position
        if left <= 0 or size == 0:
            return b""
        if self._error is not None:  # the web server asks again while it closes the connection
            raise self._error
        at = self._start + self._position
        try:
            self._piece_at(at)
        except FileDamagedError as error:
            self._error = error
            self._on_damage(error)
            raise
        begin = at - self._piece_start
        limit = left if size < 0 else min(size, left)
        content = self._piece[begin : begin + limit]
        self._position += len(content)
        return content

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open.file.close()
            self._open = None

    def _number(self, at: int) -> int:
        return bisect_right(self._starts, at) - 1

    def _piece_at(self, at: int) -> None:
        """Make the piece with this byte the one that is held."""
        if self._piece_start <= at < self._piece_start + len(self._piece):
            return
        number = self._number(at)
        part, start = self._parts[number], self._starts[number]
        if part.path is None:
            self._piece, self._piece_start = part.content, start
            return
        opened = self._opened(part, at - start)
        while start + opened.read_bytes <= at:
            begin = start + opened.read_bytes
            self._piece, self._piece_start = opened.piece(), begin

    def _opened(self, part: Part, at: int) -> _Open:
        """The part's file, read no further than `at`."""
        opened = self._open
        if opened is None or opened.part is not part or opened.read_bytes > at:
            self.close()
            assert part.path is not None  # noqa: S101  (for the type checker)
            try:
                file = part.path.open("rb")
            except OSError:
                raise damaged(part, "it is missing") from None
            self._open = opened = _Open(part, file)
        return opened
