"""Pages of training batches."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.forms import KIND_HELP, BatchForm
from ftportal.datasets.models import Batch, BatchKind, BatchState
from ftportal.datasets.preview import BatchExamples
from ftportal.datasets.selectors import batch_list, batch_uses
from ftportal.datasets.services import DatasetError, batch_delete, batch_upload
from ftportal.datasets.uploads import UploadRefusedError, too_large, too_large_refusal, upload_limit
from ftportal.pages.lists import ListPage, is_fragment, page_of

_SORT = {
    "name": "name",
    "created": "created_at",
    "examples": "example_count",
    "decision": "decision_token_count",
    "size": "size_bytes",
}
_EXAMPLES_A_PAGE = 5


@require_GET
def batches(request: HttpRequest) -> HttpResponse:
    """All batches, filtered by text, kind and state."""
    filters = {name: request.GET.get(name, "").strip() for name in ("text", "kind", "state")}
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
    """One batch: its state and counts, its problems or a preview. The preview is a fragment."""
    shown = get_object_or_404(
        Batch.objects.select_related("language_model", "job", "uploaded_by"), pk=pk
    )
    page = Paginator(BatchExamples(shown), _EXAMPLES_A_PAGE).get_page(request.GET.get("page"))
    context = {"batch": shown, "preview": ListPage(page=page, sort="")}
    if is_fragment(request):
        return render(request, "datasets/_preview.html", context)
    context["problems"] = page_of(
        request, shown.problems.all(), sort={"line": "line"}, default="line", per_page=50
    )
    context["can_delete"] = shown.state != BatchState.READING and not batch_uses(shown)
    return render(request, "datasets/batch.html", context)


@require_http_methods(["GET", "POST"])
def batch_new(request: HttpRequest) -> HttpResponse:
    """Upload a batch. upload.js sends the form with X-Upload and gets a fragment or a Location."""
    user = require_role(request, Role.TRAINER)
    if request.method == "GET":
        return _form_page(request, BatchForm(initial={"kind": BatchKind.CONVERSATION}))
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


def _upload(form: BatchForm, user: User) -> Batch:
    return batch_upload(
        uploaded_by=user,
        language_model=form.chosen_model,
        name=form.cleaned_data["name"],
        kind=form.cleaned_data["kind"],
        decision_rule=form.cleaned_data["decision_rule"] or "last",
        file=form.cleaned_data["file"],
    )


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
