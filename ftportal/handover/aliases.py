"""The folder that serving watches: a link to a checkpoint's files, and a note beside it.

    FTPORTAL_DATA/aliases/<model>/champion         -> ../../checkpoints/<hash>
    FTPORTAL_DATA/aliases/<model>/champion.json    which checkpoint, by which entry of the ledger

Each is made under another name and renamed over the old one, so a reader sees the old or the new
one, never none. The link is relative: it also holds where the folder is mounted elsewhere.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

_LOCK = ".lock"


def aliases_directory() -> Path:
    """Where the folders of all models lie."""
    return Path(settings.FTPORTAL_DATA) / "aliases"


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Have the folder to oneself. What is written must be read from the database in here: then
    whoever comes last has read the newest."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(".new-*"):  # of a process that was killed in between
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def link_set(link: Path, target: Path) -> bool:
    """Let a link point at a directory; whether that changed anything."""
    relative = os.path.relpath(target.resolve(), link.parent.resolve())
    if link.is_symlink() and str(link.readlink()) == relative:
        return False
    new = _new_name(link)
    new.symlink_to(relative, target_is_directory=True)
    _rename(new, link)
    return True


def note_set(path: Path, note: Mapping[str, Any], mode: int = 0o600) -> bool:
    """Write a JSON file; whether that changed anything."""
    text = json.dumps(note, indent=2, ensure_ascii=False) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    new = _new_name(path)
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    _rename(new, path)
    return True


def _new_name(path: Path) -> Path:
    return path.with_name(f".new-{path.name}-{uuid.uuid4().hex}")


def _rename(new: Path, path: Path) -> None:
    new.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
