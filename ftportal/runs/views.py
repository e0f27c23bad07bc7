"""Pages of runs: the list, the page that watches one, and panels for other floors' pages."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.pages.describing import describe_page
from ftportal.pages.lists import is_fragment, page_of, text_of
from ftportal.runs.changes import changes_of
from ftportal.runs.drawings import run_charts, run_update
from ftportal.runs.export import metrics_rows
from ftportal.runs.forms.run import method_choices
from ftportal.runs.log import log_tail
from ftportal.runs.metrics import NOTHING, Summary, summaries
from ftportal.runs.models import Run
from ftportal.runs.recipes import batch_key, method_name, recipe_words
from ftportal.runs.selectors import (
    STATE_FILTERS,
    batches_learned,
    displacement_forecast_words,
    mixture_rows,
    outcome_rows,
    parent_names,
    run_again_url,
    run_list,
)
from ftportal.runs.services import RunRefusedError, run_describe, run_resume, run_stop
from training.methods import method_of

_SORT = {
    "name": "name",
    "created": "created_at",
    "state": "job__badge",
    "parent": "parent__name",
    "method": "method",
    "rate": "learning_rate",
    "loss": "loss_nats",
}


@require_GET
def runs(request: HttpRequest) -> HttpResponse:
    """All runs, or for HTMX the table alone."""
    filters = {name: text_of(request, name) for name in ("state", "method", "parent", "text")}
    listing = page_of(
        request, run_list(**filters), sort=_SORT, default="-created", shown=run_list()
    )
    for one in listing.object_list:
        one.method_words = method_name(one.recipe)
    context = {
        "listing": listing,
        **filters,
        "is_filtered": any(filters.values()),
        "states": STATE_FILTERS,
        "methods": dict(method_choices()),
        "parents": parent_names(),
        "is_live": any(one.job.is_live for one in listing.object_list),
    }
    return render(request, f"runs/{'_runs' if is_fragment(request) else 'runs'}.html", context)


@require_GET
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run: how it goes, what it was told to do, and what came out of it."""
    shown = _run(pk)
    known = summaries(shown)
    context = {
        "run": shown,
        **_figures(shown, known),
        "charts": run_charts(shown) if known or shown.job.is_live else [],
        "recipe": recipe_words(shown.recipe, shown.probe_set),
        "mixture": mixture_rows(shown),
        "outcome": outcome_rows(shown),
        "outcome_of": shown.output or shown.same_as,
        "changes": changes_of(shown.output),
        "forecast_words": displacement_forecast_words(shown),
        "again_url": run_again_url(shown),
        **_careful(shown),
        "log": log_tail(shown.job) if shown.job.state == "failed" else "",
    }
    return render(request, "runs/run.html", context)


@require_GET
def run_figures(request: HttpRequest, pk: int) -> HttpResponse:
    """The run's figures, badge and stop button, asked for again and again while it lives.

    Once it has ended and its result is in place, the page is loaded again: it says what came out.
    """
    shown = _run(pk)
    context = {"run": shown, **_figures(shown, summaries(shown)), "is_update": True}
    response = render(request, "runs/_figures.html", context)
    if shown.job.is_settled:
        response["HX-Refresh"] = "true"
    return response


@require_GET
def metrics(request: HttpRequest, pk: int) -> JsonResponse:
    """The lines of one chart (`chart`), or of all, as JSON."""
    return JsonResponse(run_update(_run(pk), request.GET.get("chart", "")))


@require_GET
def metrics_csv(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Everything that the run measured, one value a line."""
    shown = _run(pk)
    response = StreamingHttpResponse(metrics_rows(shown), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="run-{shown.pk}-metrics.csv"'
    return response


@require_http_methods(["GET", "POST"])
def describe(request: HttpRequest, pk: int) -> HttpResponse:
    """Name the run, and write a note and tags beside it."""
    require_role(request, Role.TRAINER)
    shown = _run(pk)
    write = partial(run_describe, run=shown)
    return describe_page(request, shown, write, back=reverse("runs:run", args=[pk]))


@require_POST
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the run to save and stop."""
    require_role(request, Role.TRAINER)
    stopped = run_stop(run=_run(pk))
    if stopped.job.is_live:
        messages.info(request, f"{stopped} saves its state and stops.")
    else:
        messages.info(request, f"{stopped} is {stopped.job.get_state_display().lower()}.")
    return redirect("runs:run", pk=pk)


@require_POST
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Go on with this session from its last saved state."""
    require_role(request, Role.TRAINER)
    shown = _run(pk)
    try:
        run_resume(run=shown)
    except RunRefusedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{shown} goes on as soon as a worker is free.")
    return redirect("runs:run", pk=pk)


@require_GET
def checkpoint_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """For a checkpoint's page: the run that made it, and the runs that started from it."""
    checkpoint = get_object_or_404(Checkpoint, pk=pk)
    made_by = Run.objects.select_related("job", "parent").filter(output=checkpoint).first()
    context = {
        "checkpoint": checkpoint,
        "run": made_by,
        "recipe": recipe_words(made_by.recipe)[:3] if made_by else [],
        "mixture": mixture_rows(made_by) if made_by else [],
        "withdrawn": [one for one in batches_learned(checkpoint) if one.batch.withdrawn_at],
        "started": Run.objects.select_related("job").filter(parent=checkpoint)[:10],
    }
    return render(request, "runs/_checkpoint_panel.html", context)


@require_GET
def batch_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """For a batch's page: the runs that learnt from it."""
    batch = get_object_or_404(Batch, pk=pk)
    uses = batch.uses.select_related("run__job", "run__output").order_by("-run__created_at")[:10]
    context = {
        "batch": batch,
        "rows": [
            {"run": use.run, "share": row["share"]}
            for use in uses
            for row in mixture_rows(use.run)
            if row["batch"].pk == batch.pk
        ],
        "more": batch.uses.count() - len(uses),
    }
    return render(request, "runs/_batch_panel.html", context)


def _run(pk: int) -> Run:
    related = (
        "job",
        "parent__language_model",
        "output",
        "same_as",
        "submitter",
        "probe_set",
        "from_mixture",
    )
    return get_object_or_404(Run.objects.select_related(*related), pk=pk)


def _careful(run: Run) -> dict[str, Any]:
    """For a run that diverged: the same at a lower rate, within the safe range of its method."""
    method = method_of(run.recipe["method"]["name"])
    safest = method.safe_rates[1]
    rate = min(run.recipe["learning_rate"] / 10, safest)
    return {"careful_rate": rate, "careful_url": run_again_url(run, learning_rate=f"{rate:g}")}


def _batch_losses(run: Run, known: Mapping[str, Summary]) -> list[tuple[str, float | None]]:
    """The newest loss of each batch, where there are several: a mean of all hides who learns."""
    batches = [part.batch for part in run.mixture.select_related("batch")]
    if len(batches) < 2:
        return []
    names = {f"loss_nats/batch/{batch_key(one)}": str(one) for one in batches}
    return [(title, known.get(name, NOTHING).mean) for name, title in names.items()]


def _figures(run: Run, known: Mapping[str, Summary]) -> dict[str, Any]:
    """The newest values of what matters while a run works."""

    def last(name: str) -> float | None:
        return known.get(name, NOTHING).last

    speeds = [last(f"{name}_tokens_per_second") for name in ("decision", "context")]
    measured = [speed for speed in speeds if speed is not None]
    names = ("displacement", "displacement_pretrained", "gradient_norm", "memory_bytes", "epoch")
    return {
        "loss_nats": known.get("loss_nats", NOTHING).mean,
        "batch_losses": _batch_losses(run, known),
        **{name: last(name) for name in names},
        "tokens_per_second": sum(measured) if measured else None,
        "decision_speed": speeds[0],
        "context_speed": speeds[1],
    }
