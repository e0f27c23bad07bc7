"""Pages of evaluations, and the panel on the pages of checkpoints and runs."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.measurement import divergence_context, settings_rows, stop_lines
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.evaluations.panel import panel_of
from ftportal.evaluations.presentation import accuracy_chart
from ftportal.evaluations.selectors import (
    STATE_FILTERS,
    evaluation_list,
    live_repeat,
    noise_floor,
    score_rows,
    suites_in_use,
)
from ftportal.evaluations.services import (
    EvaluationError,
    checkpoint_judge,
    checkpoint_measure,
    early_request,
    evaluation_repeat,
)
from ftportal.pages.lists import is_fragment, key_of, page_of, text_of

_SORT = {"checkpoint": "checkpoint__name", "suite": "suite__name", "created": "created_at"}


@require_GET
def evaluations(request: HttpRequest) -> HttpResponse:
    """All measurements, filtered by checkpoint, suite and state."""
    chosen = {name: text_of(request, name) for name in ("checkpoint", "suite", "state")}
    context = {
        "listing": page_of(request, evaluation_list(**chosen), sort=_SORT, default="-created"),
        "chosen": chosen,
        "suites": suites_in_use(),
        "states": STATE_FILTERS,
    }
    template = "_evaluations.html" if is_fragment(request) else "evaluations.html"
    return render(request, f"evaluations/{template}", context)


@require_GET
def evaluation(request: HttpRequest, pk: int) -> HttpResponse:
    """One measurement: its scores with intervals, what was pinned, progress while it runs."""
    shown = get_object_or_404(
        Evaluation.with_repeats.select_related(
            "checkpoint__language_model", "suite__rule", "job", "against__checkpoint"
        ),
        pk=pk,
    )
    if shown.repeat:  # what it shows stands on the page of the measurement that it repeats
        first = Evaluation.objects.get(checkpoint=shown.checkpoint, suite=shown.suite)
        return redirect("evaluations:evaluation", pk=first.pk)
    model, checkpoint = shown.checkpoint.language_model, shown.checkpoint
    rows = score_rows(shown) if shown.measured else []
    context = {
        "evaluation": shown,
        "rows": rows,
        "chart": accuracy_chart(rows) if rows else None,
        "settings": settings_rows(shown),
        "stops": stop_lines(shown),
        "verdicts": Verdict.with_early.filter(after=shown).select_related(
            "before__checkpoint", "rule"
        ),
    }
    if not shown.adaptive_key:
        context |= {
            "noise": noise_floor(shown.suite, model, checkpoint) if shown.measured else None,
            "repeat": live_repeat(shown),
            **divergence_context(shown.checkpoint, shown.suite),
        }
    return render(request, "evaluations/evaluation.html", context)


@require_GET
def checkpoint_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """What a session cost, for the page of its checkpoint and of its run."""
    shown = get_object_or_404(
        Checkpoint.with_exports.select_related("language_model", "parent"), pk=pk
    )
    return render(request, "evaluations/_checkpoint_panel.html", {"panel": panel_of(shown)})


@require_POST
def measure_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Measure the same checkpoint once more by the same suite, to see what chance does."""
    user = require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Evaluation.objects.select_related("checkpoint", "suite"), pk=pk)
    try:
        evaluation_repeat(evaluation=shown, created_by=user)
    except EvaluationError as error:
        messages.error(request, f"{shown.checkpoint} is not measured again. {error}")
    else:
        messages.success(request, "It waits in the queue. What differs will stand here.")
    return redirect("evaluations:evaluation", pk=pk)


@require_POST
def measure(request: HttpRequest, pk: int) -> HttpResponse:
    """Measure a checkpoint and its baselines by a suite, and judge it as soon as that is done."""
    user = require_role(request, Role.TRAINER)
    checkpoint = get_object_or_404(
        Checkpoint.with_exports.select_related("language_model", "parent"), pk=pk
    )
    suite = get_object_or_404(Suite, pk=key_of(request.POST.get("suite", "")))
    if request.POST.get("early"):
        return _measure_early(request, checkpoint, suite, user)
    try:
        asked = checkpoint_measure(checkpoint=checkpoint, suite=suite, created_by=user, again=True)
    except EvaluationError as error:
        messages.error(request, f"{checkpoint} is not measured. {error}")
        return redirect("checkpoints:checkpoint", pk)
    made = checkpoint_judge(evaluation=asked[-1]) if asked[-1].measured else []
    messages.success(request, _asked_text(checkpoint, suite, asked, len(made)))
    return redirect("checkpoints:checkpoint", pk)


def _measure_early(
    request: HttpRequest, checkpoint: Checkpoint, suite: Suite, user: User
) -> HttpResponse:
    try:
        asked = early_request(checkpoint=checkpoint, suite=suite, created_by=user)
    except EvaluationError as error:
        messages.error(request, f"{checkpoint} is not measured. {error}")
        return redirect("checkpoints:checkpoint", checkpoint.pk)
    if not asked.measured:
        text = "It waits in the queue, and ends as soon as the answer is certain."
        messages.success(request, text)
    return redirect("evaluations:evaluation", asked.pk)


def _asked_text(
    checkpoint: Checkpoint, suite: Suite, asked: Sequence[Evaluation], verdict_count: int
) -> str:
    waiting = sum(not one.measured for one in asked)
    if waiting:
        plural = "s wait" if waiting > 1 else " waits"
        return f"{waiting} measurement{plural} in the queue. The verdict follows by itself."
    if verdict_count:
        return f"{checkpoint} is judged by {suite}."
    return f"{checkpoint} was measured by {suite} before; nothing is measured twice."
