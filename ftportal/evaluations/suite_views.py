"""Pages of suites: what checkpoints are measured by."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.evaluations.benchmark_forms import SuiteForm, suite_initial
from ftportal.evaluations.models import Suite
from ftportal.evaluations.selectors import known_benchmarks, suites_in_use
from ftportal.evaluations.services import EvaluationError, suite_create
from ftportal.pages.lists import key_of, text_of


@require_GET
def suites(request: HttpRequest) -> HttpResponse:
    """The suites and what is in them."""
    text = text_of(request, "text")
    every = suites_in_use()
    shown = [one for one in every if text.lower() in f"{one} {one.description}".lower()]
    context = {"suites": shown, "is_empty": not every, "text": text}
    context["benchmarks"] = known_benchmarks()
    return render(request, "evaluations/suites.html", context)


@require_http_methods(["GET", "POST"])
def suite_new(request: HttpRequest) -> HttpResponse:
    """Make a suite, or with `from` the next version of one.

    An administrator's business: the verdict of any suite counts at the gate, and a suite may be
    allowed to run code that a model wrote.
    """
    require_role(request, Role.ADMINISTRATOR)
    key = request.GET.get("from", "")
    before = get_object_or_404(Suite, pk=key_of(key)) if key else None
    form = SuiteForm(request.POST or None, initial=suite_initial(before))
    refusal: EvaluationError | None = None
    if form.is_valid():
        try:
            made = suite_create(**form.suite_fields)
        except EvaluationError as error:
            refusal = error
        else:
            messages.success(request, f"{made} is there.")
            return redirect("evaluations:suites")
    context = {"form": form, "refusal": refusal, "before": before}
    status = 422 if form.is_bound else 200
    return render(request, "evaluations/suite_new.html", context, status=status)
