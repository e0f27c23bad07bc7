"""The forgetting report: what a checkpoint has lost, with the verdict first."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.measurement import divergence_context
from ftportal.evaluations.models import Verdict, VerdictOutcome
from ftportal.evaluations.remedies import remedies
from ftportal.evaluations.report import Report, report_of, report_of_verdict
from ftportal.evaluations.selectors import (
    CHANGES,
    changed_items,
    default_suite,
    noise_floor,
    retention_rows,
)
from ftportal.pages.lists import is_fragment, key_of, page_of, text_of

_ITEM_SORT = {"benchmark": "benchmark", "question": "question"}
ITEMS_A_PAGE = 10


@require_GET
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """The report of a checkpoint; `against` and `suite` choose the comparison."""
    checkpoint = get_object_or_404(
        Checkpoint.with_exports.select_related("language_model", "parent"), pk=pk
    )
    suite_key, baseline_key = (key_of(request.GET.get(name, "")) for name in ("suite", "against"))
    return _page(request, report_of(checkpoint, suite_key=suite_key, baseline_key=baseline_key))


@require_GET
def verdict(request: HttpRequest, pk: int) -> HttpResponse:
    """The same page for one verdict, which keeps its address when a later one takes its place."""
    shown = get_object_or_404(
        Verdict.with_early.select_related(
            "rule",
            "before__checkpoint",
            "after__checkpoint__language_model",
            "after__checkpoint__parent",
            "after__suite__rule",
        ),
        pk=pk,
    )
    return _page(request, report_of_verdict(shown))


def _page(request: HttpRequest, report: Report) -> HttpResponse:
    """The whole page, or for HTMX the list of items that changed."""
    context: dict[str, Any] = {"report": report}
    if not is_fragment(request) and (suite := report.suite or default_suite()):
        context["retention"] = retention_rows(report.checkpoint, suite)
    if report.suite is not None and not is_fragment(request):
        context |= divergence_context(report.checkpoint, report.suite)
        context["noise"] = noise_floor(report.suite, report.checkpoint.language_model)
    if report.verdict is not None and report.card is not None:
        context |= {"verdict": report.verdict, "page": report.card.page}
        context |= _items(request, report.verdict)
        if report.verdict.outcome == VerdictOutcome.FORGOTTEN and not is_fragment(request):
            context["remedies"] = remedies(report.checkpoint)
    template = "_items.html" if is_fragment(request) else "report.html"
    return render(request, f"evaluations/{template}", context)


def _items(request: HttpRequest, verdict: Verdict) -> dict[str, Any]:
    change = request.GET.get("change", "lost")
    chosen = {
        "change": change if change in CHANGES else "lost",
        "benchmark": request.GET.get("benchmark", ""),
        "text": text_of(request, "text"),
    }
    rows = changed_items(verdict, **chosen)
    return {
        "chosen": chosen,
        "changes": CHANGES,
        "items": page_of(
            request, rows, sort=_ITEM_SORT, default="benchmark", per_page=ITEMS_A_PAGE
        ),
    }
