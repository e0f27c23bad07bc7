"""Pages of benchmarks: those there are, the upload of one's own, its items."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.datasets.uploads import too_large, too_large_refusal
from ftportal.evaluations.benchmark_forms import BenchmarkForm
from ftportal.evaluations.models import OwnBenchmark
from ftportal.evaluations.selectors import known_benchmarks, own_benchmark_items
from ftportal.evaluations.services import (
    EvaluationError,
    own_benchmark_delete,
    own_benchmark_upload,
)
from ftportal.pages.lists import ListPage, text_of

_UPLOADERS = (Role.TRAINER, Role.ADMINISTRATOR)
_ITEMS_A_PAGE = 20


@require_GET
def benchmarks(request: HttpRequest) -> HttpResponse:
    """All benchmarks that a suite may ask for by a title."""
    text = text_of(request, "text")
    known = [
        one
        for one in known_benchmarks().values()
        if text.lower() in f"{one.title} {one.description}".lower()
    ]
    own = OwnBenchmark.objects.select_related("uploaded_by")
    if text:
        own = own.filter(Q(name__icontains=text) | Q(description__icontains=text))
    context = {
        "own": own,
        "text": text,
        "local": [one for one in known if one.source == "local"],
        "standard": [one for one in known if one.source == "lm_eval"],
    }
    return render(request, "evaluations/benchmarks.html", context)


@require_GET
def benchmark(request: HttpRequest, pk: int) -> HttpResponse:
    """One of one's own benchmarks and its items."""
    shown = get_object_or_404(OwnBenchmark.objects.select_related("uploaded_by"), pk=pk)
    page = Paginator(range(shown.item_count), _ITEMS_A_PAGE).get_page(request.GET.get("page"))
    start = page.start_index() - 1
    items = own_benchmark_items(shown, start, start + _ITEMS_A_PAGE)
    context = {
        "benchmark": shown,
        "listing": ListPage(page=page, sort=""),
        "items": list(enumerate(items, start=start + 1)),
    }
    return render(request, "evaluations/benchmark.html", context)


@require_http_methods(["GET", "POST"])
def benchmark_new(request: HttpRequest) -> HttpResponse:
    """Upload a benchmark; a file with a wrong line is refused as a whole, every line named."""
    user = require_role(request, *_UPLOADERS)
    form = BenchmarkForm(request.POST or None, request.FILES or None)
    refusal: Exception | None = too_large_refusal() if too_large(request) else None
    if refusal is None and form.is_valid():
        try:
            made = own_benchmark_upload(uploaded_by=user, **form.cleaned_data)
        except EvaluationError as error:
            refusal = error
        else:
            messages.success(request, f"{made} holds {made.item_count} items.")
            return redirect("evaluations:benchmark", pk=made.pk)
    status = 422 if refusal or form.is_bound else 200
    context = {"form": form, "refusal": refusal}
    return render(request, "evaluations/benchmark_new.html", context, status=status)


@require_POST
def benchmark_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a benchmark that no suite asks for."""
    require_role(request, *_UPLOADERS)
    shown = get_object_or_404(OwnBenchmark, pk=pk)
    try:
        own_benchmark_delete(benchmark=shown)
    except EvaluationError as error:
        messages.error(request, f"{shown} was not deleted. {error}")
        return redirect("evaluations:benchmark", pk=pk)
    messages.success(request, f"{shown} was deleted.")
    return redirect("evaluations:benchmarks")
