"""Pages of held-out sets and prompt sets: the texts that measure, and are never trained on."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.datasets.documents import documents_read, prompts_read
from ftportal.datasets.forms import HeldOutSetForm, PromptSetForm
from ftportal.datasets.models import HeldOutSet, PromptSet
from ftportal.datasets.selectors import (
    held_out_documents,
    held_out_set_list,
    prompt_set_list,
    prompts_by_group,
)
from ftportal.datasets.services import DatasetError, held_out_set_create, prompt_set_create
from ftportal.datasets.uploads import too_large, too_large_refusal
from ftportal.pages.lists import ListPage, page_of, text_of

_DOCUMENTS_A_PAGE = 5
_UPLOADERS = (Role.TRAINER, Role.ADMINISTRATOR)


@require_GET
def held_out_sets(request: HttpRequest) -> HttpResponse:
    """All held-out sets."""
    sort = {"name": "name", "domain": "domain", "documents": "document_count", "size": "size_bytes"}
    text = text_of(request, "text")
    listing = page_of(request, held_out_set_list(text=text), sort=sort, default="name")
    context = {"listing": listing, "text": text}
    return render(request, "datasets/held_out_sets.html", context)


@require_GET
def held_out_set(request: HttpRequest, pk: int) -> HttpResponse:
    """One held-out set and its documents."""
    shown = get_object_or_404(HeldOutSet, pk=pk)
    numbers = range(shown.document_count)
    page = Paginator(numbers, _DOCUMENTS_A_PAGE).get_page(request.GET.get("page"))
    start = page.start_index() - 1
    documents = held_out_documents(shown, start, start + _DOCUMENTS_A_PAGE)
    context = {
        "held_out_set": shown,
        "listing": ListPage(page=page, sort=""),
        "documents": list(enumerate(documents, start=start + 1)),
    }
    return render(request, "datasets/held_out_set.html", context)


@require_http_methods(["GET", "POST"])
def held_out_set_new(request: HttpRequest) -> HttpResponse:
    """Upload a held-out set."""
    require_role(request, *_UPLOADERS)
    form = HeldOutSetForm(request.POST or None, request.FILES or None)
    refusal: Exception | None = too_large_refusal() if too_large(request) else None
    if refusal is None and form.is_valid():
        values = form.cleaned_data
        try:
            made = held_out_set_create(
                name=values["name"],
                domain=values["domain"].strip().lower(),
                source=values["source"],
                documents=documents_read(values["file"]),
            )
        except DatasetError as error:
            refusal = error
        else:
            messages.success(request, f"{made} holds {made.document_count} documents.")
            return redirect("datasets:held_out_set", pk=made.pk)
    return _form_page(request, "datasets/held_out_set_new.html", form, refusal)


@require_GET
def prompt_sets(request: HttpRequest) -> HttpResponse:
    """All prompt sets."""
    sort = {"name": "name", "prompts": "prompt_count", "created": "created_at"}
    text = text_of(request, "text")
    listing = page_of(request, prompt_set_list(text=text), sort=sort, default="name")
    context = {"listing": listing, "text": text}
    return render(request, "datasets/prompt_sets.html", context)


@require_GET
def prompt_set(request: HttpRequest, pk: int) -> HttpResponse:
    """One prompt set, its prompts in groups."""
    shown = get_object_or_404(PromptSet, pk=pk)
    context = {"prompt_set": shown, "groups": prompts_by_group(shown)}
    return render(request, "datasets/prompt_set.html", context)


@require_http_methods(["GET", "POST"])
def prompt_set_new(request: HttpRequest) -> HttpResponse:
    """Upload a prompt set."""
    require_role(request, *_UPLOADERS)
    form = PromptSetForm(request.POST or None, request.FILES or None)
    refusal: Exception | None = too_large_refusal() if too_large(request) else None
    if refusal is None and form.is_valid():
        values = form.cleaned_data
        try:
            made = prompt_set_create(
                name=values["name"],
                prompts=prompts_read(values["file"]),
                kind=values["kind"],
                max_new_tokens=values["max_new_tokens"],
            )
        except DatasetError as error:
            refusal = error
        else:
            messages.success(request, f"{made} is there.")
            return redirect("datasets:prompt_set", pk=made.pk)
    return _form_page(request, "datasets/prompt_set_new.html", form, refusal)


def _form_page(
    request: HttpRequest,
    template: str,
    form: HeldOutSetForm | PromptSetForm,
    refusal: Exception | None,
) -> HttpResponse:
    status = 422 if refusal or form.is_bound else 200
    return render(request, template, {"form": form, "refusal": refusal}, status=status)
