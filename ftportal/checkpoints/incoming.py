"""How a model's files come into FTPORTAL_DATA: copied, checked there, and whole or not at all.

While they come, `models/<name>.partial` holds them and `models/<name>.incoming` a lock, so that
what a crash leaves is told from what is still being written.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from corpus.confined import model_check
from engine.manifest import Manifest, directory_publish, manifest_write
from engine.modelcheck import TOKENIZER_LIMIT_BYTES, Problem
from engine.tensorfiles import HEADER_LIMIT_BYTES, LENGTH_BYTES, SUFFIX, header_length
from ftportal.checkpoints.foreign import ForeignDirectory, ForeignError, ForeignFile
from ftportal.checkpoints.storage import models_directory

_READ_SUFFIXES = (".json", ".jinja")
"""Of files that are looked into before all the others are copied."""
_READ_LIMIT_BYTES = 4 * TOKENIZER_LIMIT_BYTES
_SPARE_BYTES = 1 << 30
_PARTIAL, _MARKER = ".partial", ".incoming"


class Incoming:
    """One model on its way in. `published` is where it will be, or is."""

    def __init__(self, published: Path) -> None:
        self.published = published
        self.partial = _beside(published, _PARTIAL)

    def look(self, foreign: ForeignDirectory, files: Sequence[ForeignFile]) -> list[Problem]:
        """Copy what can be checked, a few megabytes, and return what is wrong with the model.

        All files are there afterwards in their full lengths, most of them empty.
        Raises ForeignError and OSError.
        """
        self._heads: dict[str, int] = {}
        left = {SUFFIX: HEADER_LIMIT_BYTES, "": _READ_LIMIT_BYTES}
        for file in files:
            head = _head_bytes(foreign, file)
            kind = SUFFIX if file.name.endswith(SUFFIX) else ""
            left[kind] -= head
            if left[kind] < 0:
                message = "is more than is read of a model's headers and JSON files together"
                raise ForeignError(file.name, message, "Leave only the model's own files there.")
            target = self.partial / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            foreign.copy(file, target, 0, head)
            os.truncate(target, file.size_bytes)
            self._heads[file.name] = head
        check = model_check(self.partial)
        self.parameter_count = check.parameter_count
        return list(check.problems)

    def fill(self, foreign: ForeignDirectory, files: Sequence[ForeignFile]) -> Manifest:
        """Copy the rest, after what was checked, and return the manifest of what is there now."""
        for file in files:
            foreign.copy(file, self.partial / file.name, self._heads[file.name], file.size_bytes)
        return manifest_write(self.partial)

    def publish(self) -> None:
        """Put it in its place."""
        directory_publish(self.partial, self.published)


def _head_bytes(foreign: ForeignDirectory, file: ForeignFile) -> int:
    """How many bytes of a file are looked into."""
    if file.name.endswith(SUFFIX):
        length = header_length(foreign.head(file, LENGTH_BYTES), file.size_bytes)
        return 0 if length is None else LENGTH_BYTES + length
    path = PurePosixPath(file.name)
    is_read = len(path.parts) == 1 and path.suffix in _READ_SUFFIXES
    return file.size_bytes if is_read and file.size_bytes <= TOKENIZER_LIMIT_BYTES else 0


@contextmanager
def incoming_begin(name: str) -> Iterator[Incoming]:
    """Make room for a model under this name, or one with a number after it.

    Where the block raises, nothing of it stays.
    """
    models_directory().mkdir(parents=True, exist_ok=True)
    published, lock = _place_take(name)
    incoming = Incoming(published)
    try:
        incoming.partial.mkdir(mode=0o700)
        os.write(lock, str(incoming.partial.stat().st_ino).encode())
        yield incoming
    except BaseException:
        _remove(published)
        raise
    finally:
        _beside(published, _MARKER).unlink(missing_ok=True)
        os.close(lock)


def _place_take(name: str) -> tuple[Path, int]:
    """A place that nobody has, and the descriptor of its marker, locked."""
    published = models_directory() / name
    while True:
        if not published.exists() and not _beside(published, _PARTIAL).exists():
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with suppress(FileExistsError):
                lock = os.open(_beside(published, _MARKER), flags, 0o600)
                if _lock_take(lock):
                    return published, lock
                os.close(lock)
        published = models_directory() / f"{name}-{uuid.uuid4().hex[:8]}"


def _lock_take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def room_check(files: Sequence[ForeignFile]) -> None:
    """Raise ForeignError where the disk has no room for these files."""
    needed = sum(file.size_bytes for file in files)
    models_directory().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(models_directory()).free - _SPARE_BYTES
    if needed > free:
        largest = max(files, key=lambda file: file.size_bytes)
        message = f"has {largest.size_bytes:,} bytes: the model needs more room than the disk has"
        raise ForeignError(largest.name, message, "Make room in the data folder.")


def incoming_sweep(registered: Sequence[Path]) -> None:
    """Remove what a crash has left of models that were on their way; `registered` ones stay."""
    for marker in models_directory().glob(f"*{_MARKER}"):
        try:
            lock = os.open(marker, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # another one sweeps
        try:
            if _lock_take(lock):
                published = marker.with_name(marker.name.removesuffix(_MARKER))
                if published in registered:
                    shutil.rmtree(_beside(published, _PARTIAL), ignore_errors=True)
                else:
                    _remove(published)
                marker.unlink(missing_ok=True)
        finally:
            os.close(lock)


def _remove(published: Path) -> None:
    """Remove a model's directory, published or not; one that somebody else put there stays."""
    marker = _beside(published, _MARKER)
    shutil.rmtree(_beside(published, _PARTIAL), ignore_errors=True)
    with suppress(OSError):
        if str(published.stat(follow_symlinks=False).st_ino) == marker.read_text():
            shutil.rmtree(published, ignore_errors=True)


def _beside(published: Path, suffix: str) -> Path:
    return published.with_name(published.name + suffix)
