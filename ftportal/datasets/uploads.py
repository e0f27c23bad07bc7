"""Uploaded files on their way to disk: bounded in size, hashed while they are written."""

import hashlib
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from engine.errors import ProblemError


class UploadRefusedError(ProblemError):
    """A file was not taken; nothing of it is kept.

    `batch` is the batch that holds the same file already, where that is the reason.
    """

    def __init__(self, message: str, cure: str, batch: Any = None) -> None:
        super().__init__(message, cure)
        self.batch = batch


class LimitUploadHandler(FileUploadHandler):
    """Drops a request's files as soon as they pass the limit together, so they never fill the disk.

    Files of people without a login are dropped whole: Django reads a form before it asks who sends
    it. It stands before the handler that writes. The request is marked for `too_large`.
    """

    _received_bytes = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Hand the chunk on, or skip the rest of the file."""
        user = getattr(self.request, "user", None)
        if user is None or not user.is_authenticated:
            raise SkipFile
        self._received_bytes += len(raw_data)
        if self._received_bytes > upload_limit():
            self.request.META[_TOO_LARGE] = True  # type: ignore[union-attr]
            raise SkipFile
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave the file to the next handler."""
        return


_INCOMING = "incoming-"
_TOO_LARGE = "ftportal.upload_too_large"


TEXT_LIMIT_BYTES = 32 << 20
"""The largest file of texts or prompts: those are read as a whole, inside the web process."""


def upload_limit() -> int:
    """The largest file that is taken, in bytes."""
    limit: int = settings.FTPORTAL_UPLOAD_LIMIT_BYTES
    return limit


def too_large(request: HttpRequest) -> bool:
    """Whether a file of this request was dropped because it passed the limit."""
    return bool(request.META.get(_TOO_LARGE))


def too_large_refusal() -> UploadRefusedError:
    """The refusal of a file above the limit."""
    return UploadRefusedError(
        f"The file is larger than the limit of {filesizeformat(upload_limit())}.",
        "Split it into several files, or ask an administrator to raise FTPORTAL_UPLOAD_LIMIT_MIB.",
    )


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was written."""

    sha256: str
    size_bytes: int


def incoming_path(folder: str) -> Path:
    """A new path below `folder` of FTPORTAL_DATA for a file that is being written."""
    return Path(settings.FTPORTAL_DATA) / folder / f"{_INCOMING}{uuid.uuid4().hex}"


def incoming_drop(*, older_than_seconds: float) -> None:
    """Remove files that an upload began and a crash left behind."""
    before = time.time() - older_than_seconds
    for path in Path(settings.FTPORTAL_DATA).glob(f"*/{_INCOMING}*"):
        if path.is_file() and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


def file_keep(file: File, target: Path) -> Kept:
    """Write an uploaded file to `target`, fsynced; return its hash and size.

    Raises UploadRefusedError, leaving nothing behind, when it is empty or too large.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with target.open("xb") as stream:
            for chunk in file.chunks():
                data = chunk if isinstance(chunk, bytes) else chunk.encode()
                size_bytes += len(data)
                if size_bytes > upload_limit():
                    raise too_large_refusal()
                digest.update(data)
                stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if not size_bytes:
            raise UploadRefusedError(
                "The file is empty.", "Choose a file with at least one example."
            )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Kept(sha256=digest.hexdigest(), size_bytes=size_bytes)
