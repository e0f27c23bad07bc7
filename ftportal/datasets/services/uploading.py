"""Files that arrive in pieces: appended at an offset, kept while the line is down."""

import os
from datetime import timedelta
from typing import IO, Protocol

from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.datasets.models import Upload
from ftportal.datasets.uploads import UploadRefusedError, too_large_refusal, upload_limit

_READ_BYTES = 1 << 20
_UNFINISHED_MAX = 10
KEPT = timedelta(days=1)
"""How long an unfinished upload waits for the rest of its file."""


class Readable(Protocol):
    """What a piece is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class OffsetError(Exception):
    """A piece does not begin where the upload ends."""

    def __init__(self, received_bytes: int) -> None:
        super().__init__(received_bytes)
        self.received_bytes = received_bytes


def upload_begin(*, user: User, filename: str, fingerprint: str, size_bytes: int) -> Upload:
    """Return the unfinished upload of this very file, or a new one.

    fingerprint: what the browser knows of the file (name, size, time of change). Raises
    UploadRefusedError where the file is empty or too large.
    """
    if size_bytes > upload_limit():
        raise too_large_refusal()
    if size_bytes <= 0:
        raise UploadRefusedError("The file is empty.", "Choose a file with at least one example.")
    known = Upload.objects.filter(user=user, fingerprint=fingerprint[:200], size_bytes=size_bytes)
    upload = known.order_by("-created_at").first()
    if upload is not None and upload.path.is_file():
        return upload
    if Upload.objects.filter(user=user).count() >= _UNFINISHED_MAX:
        raise UploadRefusedError(
            f"There are {_UNFINISHED_MAX} unfinished uploads of yours.", "Finish one of them first."
        )
    upload = Upload.objects.create(
        user=user,
        filename=(filename or "batch")[-255:],
        fingerprint=fingerprint[:200],
        size_bytes=size_bytes,
    )
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    upload.path.touch()
    return upload


def upload_append(*, upload: Upload, offset: int, stream: Readable) -> int:
    """Append a piece that begins at `offset`; return how many bytes are there now.

    What arrived of a piece before the line was cut is kept. Raises OffsetError where the piece
    begins elsewhere, UploadRefusedError where it would pass the size that was announced.
    """
    if offset != upload.received_bytes:
        raise OffsetError(upload.received_bytes)
    # No transaction is open meanwhile: a slow client would hold the lock of all who write. Two that
    # send the same piece write the same bytes, and only one of them moves the mark.
    try:
        with upload.path.open("r+b") as file:
            file.seek(offset)
            received = offset + _copy(stream, file, upload.size_bytes - offset)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        message = "What was uploaded so far is gone."
        raise UploadRefusedError(message, "Choose the file again.") from None
    except _LongerError:
        raise _longer(upload) from None
    moved = Upload.objects.filter(pk=upload.pk, received_bytes=offset)
    if not moved.update(received_bytes=received):
        upload.refresh_from_db()
        raise OffsetError(upload.received_bytes)
    return received


class _LongerError(Exception):
    """More arrives than there is room for."""


def _copy(stream: Readable, file: IO[bytes], room_bytes: int) -> int:
    """Write what arrives until it ends or the line is cut; return how much that was."""
    copied = 0
    while True:
        try:
            data = stream.read(_READ_BYTES)
        except OSError:  # Django's UnreadablePostError is one
            return copied
        if not data:
            return copied
        if copied + len(data) > room_bytes:
            raise _LongerError
        file.write(data)
        copied += len(data)


def _longer(upload: Upload) -> UploadRefusedError:
    return UploadRefusedError(
        f"More arrived than the {filesizeformat(upload.size_bytes)} that were announced.",
        "Choose the file again; it may have changed meanwhile.",
    )


def uploads_drop() -> None:
    """Remove unfinished uploads that nobody went on with for a day."""
    for upload in Upload.objects.filter(created_at__lt=timezone.now() - KEPT):
        upload.path.unlink(missing_ok=True)
        upload.delete()
