"""Seals: what the files that an engine reads have to hash to, checked before any of them is read.

config.json may have a field `seals`, a list of {"what", "path", "sha256"}. Of a file it is the hash
of its content, of a directory that of its manifest (`engine.manifest`), every file hashed again.
The portal takes them from its database, so a byte that was changed on the disk is named, not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checks import ConfigError, fields_of, text_check
from engine.errors import PlacedError
from engine.manifest import ManifestError, OnRead, file_sha256, manifest_check, read_quietly

FIELD = "seals"
_CURE = "Put the file back as it was, or make what was read from it anew."


class SealError(PlacedError):
    """Something is not what it was when it was sealed."""


@dataclass(frozen=True, kw_only=True)
class Seal:
    """One file or directory and its hash."""

    what: str
    """What people call it, such as: batch Talks."""
    path: str
    sha256: str

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        for name in ("what", "path", "sha256"):
            text_check(f"{FIELD}.{name}", getattr(self, name))

    def check(self, on_read: OnRead = read_quietly) -> None:
        """Raise SealError where the content is not what it was."""
        path = Path(self.path)
        try:
            if path.is_dir():
                actual = manifest_check(path, on_read=on_read)["sha256"]
            else:
                actual = file_sha256(path, on_read)
        except ManifestError as error:
            raise SealError(self.what, f"it was changed on the disk: {error}", _CURE) from error
        except OSError as error:
            raise SealError(self.what, f"it cannot be read: {error.strerror}", _CURE) from error
        if actual != self.sha256:
            message = "it was changed on the disk: its SHA-256 is not the one that was kept"
            raise SealError(self.what, message, _CURE)


def seals_read(record: Any) -> list[Seal]:
    """The seals of a decoded config.json; ConfigError where they are none."""
    seals = record.get(FIELD, []) if isinstance(record, dict) else []
    if not isinstance(seals, list):
        raise ConfigError(FIELD, "is not a list", "Write a list of objects.")
    return [Seal(**fields_of(Seal, one, FIELD)) for one in seals]


def seals_check(seals: Sequence[Seal]) -> None:
    """Check all of them; a path that is sealed twice is read once."""
    for seal in dict.fromkeys(seals):
        seal.check()
