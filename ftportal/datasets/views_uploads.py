"""Uploads in pieces: begun, continued after a cut line or a reload, and turned into a batch."""

import uuid

from django.http import Http404, HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.datasets.models import Upload
from ftportal.datasets.services.uploading import (
    OffsetError,
    upload_append,
    upload_begin,
)
from ftportal.datasets.uploads import UploadRefusedError


@require_POST
def upload_new(request: HttpRequest) -> JsonResponse:
    """Begin an upload, or find the unfinished one of the same file: {"url", "id", "offset"}."""
    user = require_role(request, Role.TRAINER)
    try:
        size_bytes = int(request.POST.get("size", ""))
    except ValueError:
        return _refused("The file's size is missing.", "Reload the page and try again.")
    try:
        upload = upload_begin(
            user=user,
            filename=request.POST.get("filename", ""),
            fingerprint=request.POST.get("fingerprint", ""),
            size_bytes=size_bytes,
        )
    except UploadRefusedError as refusal:
        return _refused(refusal.message, refusal.cure)
    return JsonResponse(
        {
            "id": str(upload.pk),
            "url": reverse("datasets:upload_piece", args=[upload.pk]),
            "offset": upload.received_bytes,
        }
    )


@require_POST
def upload_piece(request: HttpRequest, pk: uuid.UUID) -> JsonResponse:
    """Append the body to an upload at `?offset=`; {"offset"} says how much is there now.

    409 with the true offset where the piece does not follow on what is there.
    """
    user = require_role(request, Role.TRAINER)
    upload = _own(user, pk)
    try:
        offset = int(request.GET.get("offset", ""))
    except ValueError:
        return _refused("The offset is missing.", "Reload the page and try again.")
    try:
        received = upload_append(upload=upload, offset=offset, stream=request)
    except OffsetError as error:
        return JsonResponse({"offset": error.received_bytes}, status=409)
    except UploadRefusedError as refusal:
        return _refused(refusal.message, refusal.cure)
    return JsonResponse({"offset": received})


def _own(user: User, pk: uuid.UUID) -> Upload:
    upload = Upload.objects.filter(pk=pk, user=user).first()
    if upload is None:
        raise Http404
    return upload


def _refused(message: str, cure: str) -> JsonResponse:
    return JsonResponse({"message": message, "cure": cure}, status=422)
