"""Answers a request for a download: whole, or the range that it asks for."""

import re
from collections.abc import Callable

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import content_disposition_header

from ftportal.handover.archive import Download
from ftportal.handover.reader import PIECE_BYTES, CheckedReader, FileDamagedError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class UnsatisfiableError(Exception):
    """The range lies behind the end."""


class _PiecewiseResponse(FileResponse):
    block_size = PIECE_BYTES


def byte_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """The range that a header asks for, as start and stop; None where it is to be ignored.

    Several ranges at once are ignored, as RFC 9110 allows: the answer is then the whole. Raises
    UnsatisfiableError.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        if int(last) == 0:
            raise UnsatisfiableError
        return max(0, size_bytes - int(last)), size_bytes
    start, stop = int(first), min(int(last) + 1 if last else size_bytes, size_bytes)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise UnsatisfiableError
    return start, stop


def download_respond(
    request: HttpRequest,
    download: Download,
    *,
    on_start: Callable[[int, int], None],
    on_damage: Callable[[FileDamagedError], None],
) -> HttpResponseBase:
    """The download, or the part of it that is asked for; HEAD gets the headers alone.

    on_start: called with start and stop before the first byte. Raises FileDamagedError where a file
    is already known not to be what it was.
    """
    size_bytes = download.size_bytes
    wanted = None
    if request.headers.get("If-Range", download.etag) == download.etag:
        try:
            wanted = byte_range(request.headers.get("Range", ""), size_bytes)
        except UnsatisfiableError:
            headers = {"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"}
            return HttpResponse(status=416, headers=headers)
    start, stop = wanted or (0, size_bytes)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Disposition": str(content_disposition_header(True, download.file_name)),
        "Content-Length": str(stop - start),
        "Content-Type": download.content_type,
        "ETag": download.etag,
    }
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    reader = CheckedReader(download.parts, start, stop, on_damage)
    try:
        reader.prepare()
    except FileDamagedError as error:
        reader.close()
        on_damage(error)
        raise
    on_start(start, stop)
    return _PiecewiseResponse(reader, status=status, headers=headers)
