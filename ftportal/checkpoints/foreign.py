"""A model's directory that somebody else may write to: which files it has, and how to copy them.

Nothing in it is believed. Every file is opened from a descriptor of a folder that it may not leave,
without following any link on the way, and looked at through the descriptor that is then read.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from engine.errors import PlacedError
from engine.manifest import MANIFEST_NAME

FILES_MAX = 2000
DEPTH_MAX = 8
_NAME_MAX = 200
_SPARSE_FACTOR = 8
_SPARSE_BYTES = 1 << 20
_CHUNK_BYTES = 8 << 20
_SAFE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
"""O_NONBLOCK: a pipe or a device that was put in a file's place does not hold us up."""
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class ForeignError(PlacedError):
    """Something in the directory is not what a model consists of; `where` names it."""


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """One file of the directory, as it was when it was looked at."""

    name: str
    """Within the directory, in POSIX form."""
    source: PurePosixPath
    """Where its bytes lie, within the boundary: elsewhere for a link."""
    size_bytes: int
    identity: tuple[int, int, int]
    """Device, inode, and time of its last change in nanoseconds."""


class ForeignDirectory:
    """A directory, and the boundary that its links may not leave; to be used in a with statement.

    Links may lead to files inside the directory; in a hub's cache, where a snapshot consists of
    links, inside the model's folder of that cache. The path itself must have no link in it.
    """

    def __init__(self, directory: Path) -> None:
        in_cache = directory.parent.name == "snapshots"
        self.boundary = directory.parent.parent if in_cache else directory
        self.has_only_plain_files = True
        """Whether `files` has seen nothing hidden, no link, and no file that has another name."""
        self._inside = PurePosixPath(directory.relative_to(self.boundary))
        self._root = -1

    def __enter__(self) -> "ForeignDirectory":
        """Hold the boundary; raises ForeignError where it is not there or not what it was."""
        try:
            self._root = os.open(self.boundary, _SAFE | os.O_DIRECTORY)
        except OSError as error:
            raise _unreadable(error, self.boundary.name) from error
        if Path(f"/proc/self/fd/{self._root}").readlink() != self.boundary:
            os.close(self._root)
            cure = "Name the directory without links in its path."
            raise ForeignError(self.boundary.name, "is not where it was a moment ago", cure)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it."""
        os.close(self._root)

    def files(self) -> list[ForeignFile]:
        """Its files by name, without hidden ones and an earlier manifest. Only looks.

        Raises ForeignError for the first that cannot be a model's.
        """
        return sorted(self._scan(PurePosixPath(), [0]), key=lambda file: file.name)

    def _scan(self, folder: PurePosixPath, seen: list[int]) -> Iterator[ForeignFile]:
        where = str(folder) if folder.parts else "the directory"
        with self._opened(self._inside / folder, where, os.O_DIRECTORY) as descriptor:
            for name in self._names(descriptor, where, seen):
                if name.startswith("."):
                    self.has_only_plain_files = False
                elif folder.parts or name != MANIFEST_NAME:
                    yield from self._entry(descriptor, folder, name, seen)

    def _names(self, descriptor: int, where: str, seen: list[int]) -> list[str]:
        names = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                seen[0] += 1
                if seen[0] > FILES_MAX:
                    message = f"has more than {FILES_MAX:,} files and folders"
                    raise ForeignError(where, message, "Leave only the model's own files there.")
                names.append(entry.name)
        return sorted(names)

    def _entry(
        self, descriptor: int, folder: PurePosixPath, name: str, seen: list[int]
    ) -> Iterator[ForeignFile]:
        path = folder / name
        where = _shown(str(path))
        if not name.isprintable() or len(name) > _NAME_MAX:
            raise ForeignError(where, "has a name that cannot be kept", "Rename it.")
        kind = stat.S_IFMT(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
        if kind == stat.S_IFDIR:
            if len(folder.parts) >= DEPTH_MAX:
                message = f"lies more than {DEPTH_MAX} folders deep"
                raise ForeignError(where, message, "Put the model's files into one directory.")
            yield from self._scan(path, seen)
        elif kind == stat.S_IFLNK:
            self.has_only_plain_files = False
            yield self._file(path, where, self._target(where, self._inside / path))
        elif kind == stat.S_IFREG:
            yield self._file(path, where, self._inside / path)
        else:
            raise ForeignError(where, f"is {_KINDS.get(kind, 'not a file')}", "Take it out.")

    def _target(self, where: str, link: PurePosixPath) -> PurePosixPath:
        """Where a link leads, within the boundary; what is opened there is looked at again."""
        cure = "Put the file itself there."
        try:
            target = (self.boundary / link).resolve(strict=True)
        except (OSError, RuntimeError):  # a circle of links is either
            raise ForeignError(where, "is a link that leads to no file", cure) from None
        if not target.is_relative_to(self.boundary):
            raise ForeignError(where, "is a link to a file outside of the model's directory", cure)
        return PurePosixPath(target.relative_to(self.boundary))

    def _file(self, path: PurePosixPath, where: str, source: PurePosixPath) -> ForeignFile:
        with self._opened(source, where) as descriptor:
            status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ForeignError(where, "is a link to a folder", "Put the files themselves there.")
        if status.st_nlink > 1:
            self.has_only_plain_files = False
        written = status.st_blocks * 512
        if status.st_size > _SPARSE_BYTES and 0 < written * _SPARSE_FACTOR < status.st_size:
            message = f"has {status.st_size:,} bytes, of which only {written:,} were ever written"
            raise ForeignError(where, message, "Copy or download the file again.")
        return ForeignFile(
            name=str(path), source=source, size_bytes=status.st_size, identity=_identity(status)
        )

    def head(self, file: ForeignFile, size_bytes: int) -> bytes:
        """The first bytes of a file."""
        with self._opened(file.source, _shown(file.name)) as source:
            return os.read(source, size_bytes)

    def copy(self, file: ForeignFile, target: Path, begin: int, end: int) -> None:
        """Copy the bytes begin..end-1 of a file to where they belong in `target`; no link is made.

        Raises ForeignError where it is not what it was when it was looked at, and OSError where
        `target` cannot be written.
        """
        where = _shown(file.name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._opened(file.source, where) as source, _closing(target, flags) as into:
            for descriptor in (source, into):
                os.lseek(descriptor, begin, os.SEEK_SET)
            copied = _bytes_copy(source, into, end - begin)
            grown = end == file.size_bytes and os.read(source, 1) != b""
            if grown or copied < end - begin or _identity(os.fstat(source)) != file.identity:
                cure = "Try again once nobody writes to it."
                raise ForeignError(where, "was changed while it was read", cure)

    @contextmanager
    def _opened(self, path: PurePosixPath, where: str, flags: int = 0) -> Iterator[int]:
        """A descriptor of the file or folder at a path within the boundary, of which no part may
        be a link."""
        descriptor = os.dup(self._root)
        try:
            for number, part in enumerate(path.parts, start=1):
                is_last = number == len(path.parts)
                try:
                    inner = os.open(
                        part, _SAFE | (flags if is_last else os.O_DIRECTORY), dir_fd=descriptor
                    )
                except OSError as error:
                    raise _unreadable(error, where) from error
                os.close(descriptor)
                descriptor = inner
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise ForeignError(where, "is not a plain file", "Take it out.")
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _closing(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unreadable(error: OSError, where: str) -> ForeignError:
    message = f"cannot be read: {os.strerror(error.errno or 0)}"
    return ForeignError(_shown(where), message, "Let the portal's own user read it.")


def _bytes_copy(source: int, into: int, size_bytes: int) -> int:
    """Copy so many bytes, or as many as there are; return how many.

    Where the file system can, the two files share what neither of them changes later.
    """
    left = _kernel_copy(source, into, size_bytes)
    while left and (chunk := os.read(source, min(left, _CHUNK_BYTES))):
        left -= len(chunk)
        while chunk:
            chunk = chunk[os.write(into, chunk) :]
    return size_bytes - left


def _kernel_copy(source: int, into: int, size_bytes: int) -> int:
    """Have the kernel copy; return how many bytes it left, all of them where it cannot."""
    left = size_bytes
    while left:
        try:
            count = os.copy_file_range(source, into, min(left, 1 << 30))
        except OSError:  # between two file systems, for one
            break
        if not count:
            break
        left -= count
    return left


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _shown(name: str) -> str:
    """A name for a page, whatever it consists of."""
    name = name if name.isprintable() else ascii(name)
    return name if len(name) <= _NAME_MAX else name[:_NAME_MAX] + "…"
