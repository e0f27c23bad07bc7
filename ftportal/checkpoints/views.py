"""Pages of language models and checkpoints."""

from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.forms import ModelForm, PeopleForm
from ftportal.checkpoints.intakes.services import model_fetch, model_take_in
from ftportal.checkpoints.models import Checkpoint, Intake, LanguageModel
from ftportal.checkpoints.selectors import (
    checkpoint_files,
    checkpoint_list,
    code_notice,
    intake_of,
    intakes_open,
    lineage,
)
from ftportal.checkpoints.services import (
    CheckpointError,
    checkpoint_delete,
    checkpoint_describe,
    delete_objections,
    model_people_set,
)
from ftportal.pages.describing import describe_page
from ftportal.pages.lists import page_of, text_of

_SORT = {
    "name": "name",
    "created": "created_at",
    "size": "size_bytes",
    "sessions": "depth",
    "displacement": "displacement_pretrained",
}


@require_GET
def checkpoints(request: HttpRequest) -> HttpResponse:
    """All checkpoints, filtered by model and text."""
    model_name = request.GET.get("model", "")
    text = text_of(request, "text")
    deleted = request.GET.get("deleted") == "yes"
    rows = checkpoint_list(model_name=model_name, text=text, deleted=deleted)
    context = {
        "listing": page_of(request, rows, sort=_SORT, default="-created"),
        "models": LanguageModel.objects.all(),
        "model_name": model_name,
        "text": text,
        "deleted": deleted,
        "intakes": intakes_open(),
    }
    return render(request, "checkpoints/checkpoints.html", context)


@require_GET
def checkpoint(request: HttpRequest, pk: int) -> HttpResponse:
    """One checkpoint: where it comes from, what it measures, what it consists of."""
    shown = get_object_or_404(
        Checkpoint.with_exports.select_related("language_model", "parent"), pk=pk
    )
    if shown.is_export:  # what there is to say stands on the page of what was exported
        return redirect(reverse("checkpoints:checkpoint", args=[shown.parent_id]) + "#hand-over")
    context = {
        "checkpoint": shown,
        "lineage": lineage(shown),
        "files": checkpoint_files(shown),
        "children": shown.children.all(),
        "objections": delete_objections(shown),
        "intake": intake_of(shown.language_model) if shown.is_pretrained else None,
        "code_notice": code_notice(shown),
        "seen_by": _seen_by_words(shown.language_model),
    }
    return render(request, "checkpoints/checkpoint.html", context)


@require_http_methods(["GET", "POST"])
def describe(request: HttpRequest, pk: int) -> HttpResponse:
    """Name the checkpoint, and write a note and tags beside it."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Checkpoint, pk=pk)
    write = partial(checkpoint_describe, checkpoint=shown)
    return describe_page(request, shown, write, back=reverse("checkpoints:checkpoint", args=[pk]))


@require_POST
def checkpoint_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a checkpoint's files."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Checkpoint, pk=pk)
    try:
        checkpoint_delete(checkpoint=shown)
    except CheckpointError as error:
        messages.error(request, f"{shown} was not deleted. {error.message}")
    else:
        messages.success(request, f"The files of {shown} were deleted.")
    return redirect("checkpoints:checkpoint", pk=pk)


@require_http_methods(["GET", "POST"])
def model_new(request: HttpRequest) -> HttpResponse:
    """Register a language model."""
    user = require_role(request, Role.ADMINISTRATOR)
    form = ModelForm(request.POST or None)
    refusal = None
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        if form.directory is None:
            return _fetch(request, form, user)
        try:
            model = model_take_in(
                name=values["name"].strip(),
                source=values["place"][:300],
                note=values["note"],
                licence=values["licence"],
                directory=form.directory,
                submitter=user,
            )
        except CheckpointError as error:
            refusal = error
        else:
            messages.success(
                request, f"{model} is registered. {code_notice(model.pretrained)}".strip()
            )
            return redirect("checkpoints:checkpoint", pk=model.pretrained.pk)
    status = 422 if refusal or form.errors else 200
    context = {"form": form, "refusal": refusal}
    return render(request, "checkpoints/model_new.html", context, status=status)


def _fetch(request: HttpRequest, form: ModelForm, user: User) -> HttpResponse:
    values = form.cleaned_data
    try:
        intake = model_fetch(
            name=values["name"].strip(),
            hub_id=form.hub_id,
            revision=form.revision,
            note=values["note"],
            licence=values["licence"],
            submitter=user,
        )
    except CheckpointError as error:
        context = {"form": form, "refusal": error}
        return render(request, "checkpoints/model_new.html", context, status=422)
    return redirect("checkpoints:intake", pk=intake.pk)


@require_GET
def intake(request: HttpRequest, pk: int) -> HttpResponse:
    """A model that is being fetched; alone its state where only that is asked for."""
    shown = get_object_or_404(Intake.objects.select_related("job", "language_model"), pk=pk)
    part = request.headers.get("HX-Request") == "true"
    template = "checkpoints/_intake.html" if part else "checkpoints/intake.html"
    return render(request, template, {"intake": shown})


@require_http_methods(["GET", "POST"])
def model_people(request: HttpRequest, pk: int) -> HttpResponse:
    """Who sees a language model: everybody, or the people named."""
    require_role(request, Role.ADMINISTRATOR)
    model = get_object_or_404(LanguageModel, pk=pk)
    form = PeopleForm(request.POST or None, model=model)
    if request.method == "POST" and form.is_valid():
        changed = model_people_set(language_model=model, **form.cleaned_data)
        messages.success(request, f"{changed} is seen by {_seen_by_words(changed)}.")
        return redirect("checkpoints:checkpoint", pk=changed.pretrained.pk)
    context = {"model": model, "form": form}
    status = 422 if form.errors else 200
    return render(request, "checkpoints/model_people.html", context, status=status)


def _seen_by_words(model: LanguageModel) -> str:
    """Who sees a model, in words."""
    if not model.is_restricted:
        return "everybody with a login"
    names = ", ".join(str(one) for one in model.people.order_by("first_name", "username"))
    return f"{names} and administrators" if names else "administrators only"
