"""Home, compare and lineage: they read every floor and write none."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.dashboard.blend_figures import blend_charts
from ftportal.dashboard.comparison_table import comparison_groups
from ftportal.dashboard.export import comparison_csv
from ftportal.dashboard.figures import line_charts, run_curves, trade_chart
from ftportal.dashboard.selectors.blending import curve_of
from ftportal.dashboard.selectors.comparison import (
    BASELINES,
    MOST,
    Selection,
    comparison,
    runs_to_add,
    selection,
)
from ftportal.dashboard.selectors.first_steps import first_steps
from ftportal.dashboard.selectors.home import champions, latest_sessions, live_jobs, path_steps
from ftportal.dashboard.selectors.line import line_of
from ftportal.dashboard.selectors.lineage import tree
from ftportal.dashboard.selectors.outcome import outcome_of
from ftportal.dashboard.selectors.waiting import waiting_for_others, waiting_of
from ftportal.pages.lists import is_fragment, key_of, text_of
from ftportal.promotions.ledger import ledgers_check
from ftportal.promotions.reread_selectors import reread_notices
from ftportal.runs.models import Run


@require_GET
@vary_on_headers("HX-Request")
def home(request: HttpRequest) -> HttpResponse:
    """Where the work stands and what waits for this person; for HTMX the part that changes."""
    jobs = live_jobs()
    rows = latest_sessions(request.user)
    fragment = is_fragment(request)
    context = {
        "steps": path_steps(),
        "champions": champions(),
        "waiting": waiting_of(request),
        "others": waiting_for_others(request.user) if isinstance(request.user, User) else [],
        "jobs": jobs,
        "is_live": bool(jobs.shown),
        "sessions": rows,
        "comparable": [row.run for row in rows if row.result is not None][:MOST],
        "is_fragment": fragment,
    }
    if not fragment and isinstance(request.user, User):
        context |= {
            "broken_ledgers": ledgers_check(),
            "reread_notices": reread_notices(),
            "first_steps": first_steps(request.user),
        }
    page = "dashboard/_home.html" if fragment else "dashboard/home.html"
    return render(request, page, context)


@require_GET
@vary_on_headers("HX-Request")
def compare(request: HttpRequest) -> HttpResponse:
    """Two to eight runs side by side, as the address names them; `format=csv` is the table.

    With `choose`, or for fewer than two, the form that finds runs; for HTMX its choices alone.
    """
    chosen = selection(request.GET.getlist("run"))
    baseline = request.GET.get("base", "parent")
    baseline = baseline if baseline in BASELINES else "parent"
    whole_recipe = request.GET.get("recipe") == "whole"
    find = text_of(request, "find")
    context: dict[str, Any] = {
        "selection": chosen,
        "choices": runs_to_add(chosen.runs, find),
        "find": find,
        "most": MOST,
        "baseline": baseline,
        "baselines": BASELINES,
        "whole_recipe": whole_recipe,
    }
    if is_fragment(request):
        return render(request, "dashboard/_compare_choices.html", context)
    if not chosen.enough or "choose" in request.GET:
        return render(request, "dashboard/compare.html", context)
    compared = comparison(runs=chosen.runs, baseline=baseline, viewer=request.user)
    groups = comparison_groups(compared, whole_recipe=whole_recipe)
    if request.GET.get("format") == "csv":
        return _csv(chosen, comparison_csv(groups, chosen.runs))
    context |= {
        "comparison": compared,
        "groups": groups,
        "names": dict(enumerate(run.name for run in chosen.runs)),
        "charts": run_curves(chosen.runs),
        "trade_chart": trade_chart(compared.trades),
        "untraded": [one for one in compared.trades if not one.is_known],
        "without": {run.pk: _address_without(request, run) for run in chosen.runs},
    }
    return render(request, "dashboard/compare.html", context)


def _address_without(request: HttpRequest, run: Run) -> str:
    """The page's address with one run left out."""
    query = request.GET.copy()
    query.setlist("run", [text for text in query.getlist("run") if text != str(run.pk)])
    return f"?{query.urlencode()}"


def _csv(chosen: Selection, text: str) -> HttpResponse:
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    name = f"comparison-of-{len(chosen.runs)}-runs.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_GET
def run_outcome(request: HttpRequest, pk: int) -> HttpResponse:
    """For a run's page: what it learned and what it cost, in two sentences."""
    related = ("output", "same_as", "parent", "job")
    shown = get_object_or_404(
        Run.objects.select_related(*related).prefetch_related("mixture__batch"), pk=pk
    )
    outcome = outcome_of(shown)
    if outcome is None:
        raise Http404("The run left no checkpoint.")
    return render(request, "dashboard/_outcome.html", {"run": shown, "outcome": outcome})


@require_GET
def lineage(request: HttpRequest) -> HttpResponse:
    """The tree of one language model's checkpoints, and what a line through it has lost."""
    models = list(LanguageModel.objects.all())
    context: dict[str, Any] = {"models": models}
    if models:
        model = next((one for one in models if one.name == request.GET.get("model")), models[0])
        nodes = tree(model, request.user)
        line = line_of(_line_end(request, model))
        context |= {"model": model, "nodes": nodes, "line": line, "charts": line_charts(line)}
    return render(request, "dashboard/lineage.html", context)


@require_GET
def blend_curve(request: HttpRequest, pk: int) -> HttpResponse:
    """For the page of a checkpoint's blends: what each of them keeps and loses."""
    candidate = get_object_or_404(
        Checkpoint.objects.select_related("language_model", "parent").filter(parent__isnull=False),
        pk=pk,
    )
    curve = curve_of(candidate)
    context = {"curve": curve, "charts": blend_charts(curve)}
    return render(request, "dashboard/_blend_curve.html", context)


def _line_end(request: HttpRequest, model: LanguageModel) -> Checkpoint:
    """The checkpoint that the address's `line` names, else the champion."""
    key = key_of(request.GET.get("line", ""))
    if key is None:
        return champion(model)
    return get_object_or_404(Checkpoint, pk=key, language_model=model)
