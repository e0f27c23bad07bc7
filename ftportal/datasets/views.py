"""Pages of training batches."""

import uuid

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from corpus.reasoning import LEARN
from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.forms import KIND_HELP, BatchForm
from ftportal.datasets.models import (
    REASONING,
    WORKING_STATES,
    Batch,
    BatchKind,
    BatchState,
    Upload,
)
from ftportal.datasets.preview import BatchExamples
from ftportal.datasets.questions import questions_of
from ftportal.datasets.reports import problem_groups, report_of, screening_of
from ftportal.datasets.selectors import batch_list, batch_uses, batch_versions
from ftportal.datasets.services import DatasetError, batch_delete, batch_upload
from ftportal.datasets.services.answers import can_import_good
from ftportal.datasets.uploads import UploadRefusedError, too_large, too_large_refusal, upload_limit
from ftportal.datasets.views_questions import columns_form
from ftportal.pages.lists import ListPage, is_fragment, key_of, page_of, text_of

_SORT = {
    "name": "name",
    "created": "created_at",
    "examples": "example_count",
    "decision": "decision_token_count",
    "size": "size_bytes",
}
_EXAMPLES_A_PAGE = 5
_GROUP_SHOWN = 5


@require_GET
def batches(request: HttpRequest) -> HttpResponse:
    """All batches, filtered by text, kind and state."""
    filters = {name: text_of(request, name) for name in ("text", "kind", "state")}
    context = {
        "listing": page_of(request, batch_list(**filters), sort=_SORT, default="-created"),
        "filters": filters,
        "is_filtered": any(filters.values()),
        "kinds": BatchKind.choices,
        "states": BatchState.choices,
    }
    return render(request, "datasets/batches.html", context)


@require_GET
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """One batch: what it asks, its numbers, its problems, a preview. The preview is a fragment."""
    shown = get_object_or_404(
        Batch.objects.select_related("language_model", "job", "uploaded_by", "version_of"), pk=pk
    )
    page = Paginator(BatchExamples(shown), _EXAMPLES_A_PAGE).get_page(request.GET.get("page"))
    context = {"batch": shown, "preview": ListPage(page=page, sort="")}
    if is_fragment(request):
        return render(request, "datasets/_preview.html", context)
    is_asking = shown.state == BatchState.ASKING
    questions = questions_of(shown) if is_asking else []
    asks_columns = bool(questions) and questions[0].key == "columns"
    context |= {
        "is_working": shown.state in WORKING_STATES,
        "questions": questions,
        "columns": columns_form(shown) if asks_columns else None,
        "has_simple": any(one.key != "contamination" for one in questions),
        "screening": screening_of(shown),
        "report": report_of(shown),
        "groups": problem_groups(list(shown.problems.all())),
        "can_import_good": can_import_good(shown),
        "versions": batch_versions(shown),
        "reasonings": REASONING,
        "can_delete": shown.state not in WORKING_STATES and not batch_uses(shown),
    }
    return render(request, "datasets/batch.html", context)


@require_GET
def batch_group(request: HttpRequest, pk: int) -> HttpResponse:
    """The first examples of a group of near duplicates, `?number=0`; a fragment."""
    shown = get_object_or_404(Batch.objects.select_related("language_model"), pk=pk)
    groups = shown.report.get("screening", {}).get("near", {}).get("places", [])
    number = key_of(request.GET.get("number", "0")) or 0
    every = BatchExamples(shown)
    places = groups[number] if number < len(groups) else []
    examples = [every[place] for place in places[:_GROUP_SHOWN] if place < len(every)]
    context = {"batch": shown, "examples": examples}
    return render(request, "datasets/_group.html", context)


@require_http_methods(["GET", "POST"])
def batch_new(request: HttpRequest) -> HttpResponse:
    """Upload a batch. upload.js sends the form with X-Upload and gets a fragment or a Location.

    `?mends=PK` takes name, kind and choices from a batch that was refused.
    """
    user = require_role(request, Role.TRAINER)
    if request.method == "GET":
        return _form_page(request, BatchForm(initial=_initial(request)))
    form = BatchForm(request.POST, request.FILES)
    by_script = "X-Upload" in request.headers
    try:
        if too_large(request):
            raise too_large_refusal()
        made = _upload(form, user) if form.is_valid() else None
    except UploadRefusedError as refusal:
        return _form_page(request, form, refusal, by_script=by_script)
    if made is None:
        return _form_page(request, form, by_script=by_script)
    if by_script:
        return HttpResponse(
            status=201, headers={"Location": reverse("datasets:batch", args=[made.pk])}
        )
    return redirect("datasets:batch", pk=made.pk)


def _initial(request: HttpRequest) -> dict[str, object]:
    mended = Batch.objects.filter(pk=key_of(request.GET.get("mends", "")) or 0).first()
    if mended is None:
        return {"kind": BatchKind.CONVERSATION, "reasoning": LEARN}
    return {
        "name": mended.name,
        "kind": mended.kind,
        "decision_rule": mended.decision_rule,
        "reasoning": mended.reasoning,
        "empty_reasoning": bool(mended.options.get("empty_reasoning")),
        "language_model": mended.language_model_id,
    }


def _upload(form: BatchForm, user: User) -> Batch:
    return batch_upload(
        uploaded_by=user,
        language_model=form.chosen_model,
        name=form.cleaned_data["name"],
        kind=form.cleaned_data["kind"],
        decision_rule=form.chosen_rule,
        reasoning=form.cleaned_data["reasoning"] or LEARN,
        options={
            name: form.cleaned_data[name] for name in ("template_arguments", "empty_reasoning")
        },
        file=form.cleaned_data["file"],
        upload=_whole_upload(form.cleaned_data["upload"], user),
    )


def _whole_upload(key: uuid.UUID | None, user: User) -> Upload | None:
    """The upload in pieces that a form names, if it names one; only one's own."""
    if key is None:
        return None
    upload = Upload.objects.filter(pk=key, user=user).first()
    if upload is None:
        raise UploadRefusedError("What was uploaded is gone.", "Choose the file again.")
    return upload


def _form_page(
    request: HttpRequest,
    form: BatchForm,
    refusal: UploadRefusedError | None = None,
    *,
    by_script: bool = False,
) -> HttpResponse:
    context = {
        "form": form,
        "refusal": refusal,
        "kinds": [
            (value, label, KIND_HELP[BatchKind(value)]) for value, label in BatchKind.choices
        ],
        "reasonings": REASONING,
        "limit_bytes": upload_limit(),
        "has_model": LanguageModel.objects.exists(),
    }
    template = "datasets/_upload_problem.html" if by_script else "datasets/batch_new.html"
    status = 422 if refusal or form.is_bound else 200
    return render(request, template, context, status=status)


@require_POST
def batch_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a batch that no run used."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Batch, pk=pk)
    try:
        batch_delete(batch=shown)
    except DatasetError as error:
        messages.error(request, f"{shown} was not deleted. {error.message} {error.cure}")
        return redirect("datasets:batch", pk=pk)
    messages.success(request, f"{shown} was deleted.")
    return redirect("datasets:batches")
