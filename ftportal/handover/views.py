"""What a checkpoint's page says about handing it over, and the downloads themselves."""

from functools import partial

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from engine.manifest import ManifestError
from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import CheckpointError, checkpoint_delete
from ftportal.handover.archive import Download, file_download, tar_download
from ftportal.handover.card import model_card
from ftportal.handover.forms import ExportForm
from ftportal.handover.models import Export
from ftportal.handover.reader import FileDamagedError
from ftportal.handover.selectors import DOWNLOADERS, EXPORTERS, panel_of
from ftportal.handover.services import (
    ExportRefusedError,
    damage_note,
    damages_check,
    download_record,
    export_request,
)
from ftportal.handover.streaming import download_respond


def _checkpoint(pk: int) -> Checkpoint:
    """With exports: their files are downloaded too."""
    return get_object_or_404(
        Checkpoint.with_exports.select_related("language_model", "parent"), pk=pk
    )


@require_GET
def panel(request: HttpRequest, pk: int) -> HttpResponse:
    """For a checkpoint's page: downloads, exports with what they cost, commands."""
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    assert isinstance(request.user, User)  # noqa: S101  (every page needs a login)
    context = {"panel": panel_of(checkpoint, request.user)}
    return render(request, "handover/_panel.html", context)


@require_GET
def card(request: HttpRequest, pk: int) -> HttpResponse:
    """The model card as Markdown, `?as=text` bare. Anybody with a login may read it."""
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    text = model_card(checkpoint)
    if request.GET.get("as") == "text":
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
    context = {"checkpoint": checkpoint, "text": text}
    return render(request, "handover/card.html", context)


@require_safe
def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Everything of a checkpoint as a tar. `?version=` refuses any other bytes than those begun."""
    user = require_role(request, *DOWNLOADERS)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    try:
        whole = tar_download(checkpoint, model_card(checkpoint))
    except ManifestError as error:
        return _refused(request, checkpoint, str(error))
    return _respond(request, checkpoint, whole, user)


@require_safe
def file(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    """One file of a checkpoint or of an export."""
    user = require_role(request, *DOWNLOADERS)
    checkpoint = _checkpoint(pk)
    try:
        one = file_download(checkpoint, name)
    except LookupError:
        raise Http404(f"{checkpoint} hands over no file called {name}.") from None
    except ManifestError as error:
        return _refused(request, checkpoint, str(error))
    return _respond(request, checkpoint, one, user)


def _respond(
    request: HttpRequest, checkpoint: Checkpoint, what: Download, user: User
) -> HttpResponseBase:
    if checkpoint.deleted_at is not None:
        return _refused(request, checkpoint, "its files were deleted.")
    if request.GET.get("version", what.version) != what.version:
        text = (
            "The download has changed since it was begun, for its card or files did. Start again.\n"
        )
        return HttpResponse(text, status=412, content_type="text/plain; charset=utf-8")

    def on_damage(error: FileDamagedError) -> None:
        damage_note(checkpoint=checkpoint, file_name=error.where, problem=error.message)

    on_start = partial(
        download_record,
        checkpoint=checkpoint,
        what=what.file_name,
        size_bytes=what.size_bytes,
        user=user,
    )
    try:
        return download_respond(
            request,
            what,
            on_start=lambda start, stop: on_start(start=start, stop=stop),
            on_damage=on_damage,
        )
    except FileDamagedError as error:
        return _refused(request, checkpoint, error.message)


def _refused(request: HttpRequest, checkpoint: Checkpoint, why: str) -> HttpResponse:
    messages.error(request, f"{checkpoint} was not downloaded: {why}")
    return redirect("checkpoints:checkpoint", pk=checkpoint.pk)


@require_POST
def files_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Hash all files of a checkpoint or export again."""
    require_role(request, *DOWNLOADERS)
    checkpoint = _checkpoint(pk)
    problem = damages_check(checkpoint=checkpoint)
    if problem:
        messages.error(request, f"{checkpoint} is damaged. {problem[0].upper()}{problem[1:]}")
    else:
        messages.success(request, f"All files of {checkpoint} are what they were.")
    return _back(checkpoint)


@require_POST
def export(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for a quantised export of a checkpoint."""
    user = require_role(request, *EXPORTERS)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    form = ExportForm(request.POST)
    try:
        if not form.is_valid():
            raise ExportRefusedError(str(next(iter(form.errors.values()))[0]))
        made = export_request(
            source=checkpoint, quantisation=form.cleaned_data["quantisation"], submitter=user
        )
    except ExportRefusedError as refused:
        messages.error(request, str(refused))
    else:
        waits = made.job.is_live
        messages.success(
            request, f"{made} {'waits for a worker' if waits else 'is there already'}."
        )
    return _back(checkpoint)


@require_POST
def export_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete an export's file; what it was measured to cost stays."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Export.objects.select_related("source", "result"), pk=pk)
    try:
        if shown.result is not None:
            checkpoint_delete(checkpoint=shown.result)
    except CheckpointError as error:
        messages.error(request, f"{shown} was not deleted. {error.message}")
    else:
        messages.success(request, f"The file of {shown} was deleted.")
    return _back(shown.source)


def _back(checkpoint: Checkpoint) -> HttpResponse:
    shown = checkpoint.parent_id if checkpoint.is_export else checkpoint.pk
    return redirect(reverse("checkpoints:checkpoint", args=[shown]) + "#hand-over")
