"""How likely a batch's decisions are: the panel on its page, and the list of all of them."""

import math
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from engine.errors import ProblemError
from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion, checkpoints_available
from ftportal.datasets.models import Batch
from ftportal.learnability.models import DTYPES, Learnability
from ftportal.learnability.selectors import (
    LIKELY_NATS,
    UNLIKELY_NATS,
    ScoredDecisions,
    learnability_list,
    scores_of,
)
from ftportal.learnability.services import examples_leave_out, learnability_request
from ftportal.pages.lists import ListPage, key_of

_A_PAGE = 20


@require_GET
def panel(request: HttpRequest, pk: int) -> HttpResponse:
    """For a batch's page: what scoring says, its progress, or the offer to score; a fragment."""
    batch = get_object_or_404(Batch.objects.select_related("language_model"), pk=pk)
    return render(request, "learnability/_panel.html", _context(batch, None))


@require_GET
def decisions(request: HttpRequest, pk: int) -> HttpResponse:
    """All decisions of a batch by their likelihood, from either end."""
    batch = get_object_or_404(Batch.objects.select_related("language_model"), pk=pk)
    chosen = key_of(request.GET.get("of", ""))
    context = _context(batch, chosen)
    shown = context["shown"]
    likeliest = request.GET.get("sort") == "-likelihood"
    rows = ScoredDecisions(shown, likeliest_first=likeliest) if shown else []
    page = Paginator(rows, _A_PAGE).get_page(request.GET.get("page"))
    context["listing"] = ListPage(page=page, sort="-likelihood" if likeliest else "likelihood")
    return render(request, "learnability/decisions.html", context)


def _context(batch: Batch, chosen: int | None) -> dict[str, Any]:
    scorings = learnability_list(batch)
    measured = [one for one in scorings if one.measured]
    shown = next((one for one in measured if one.pk == chosen), measured[0] if measured else None)
    return {
        "batch": batch,
        "measured": measured,
        "unfinished": [one for one in scorings if not one.measured],
        "shown": shown,
        "scores": scores_of(shown) if shown else None,
        "checkpoints": checkpoints_available(batch.language_model),
        "champion": champion(batch.language_model),
        "dtypes": DTYPES,
        "unlikely_nats": UNLIKELY_NATS,
        "likely_nats": LIKELY_NATS,
    }


@require_POST
def score(request: HttpRequest, pk: int) -> HttpResponse:
    """Have every decision of a batch scored under a checkpoint."""
    user = require_role(request, Role.TRAINER)
    batch = get_object_or_404(Batch, pk=pk)
    checkpoint = get_object_or_404(Checkpoint, pk=key_of(request.POST.get("checkpoint", "")))
    dtype = request.POST.get("dtype", "")
    try:
        learnability_request(
            batch=batch,
            checkpoint=checkpoint,
            created_by=user,
            dtype=dtype if dtype in dict(DTYPES) else "float32",
        )
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
    return redirect("learnability:decisions", pk=pk)


@require_POST
def leave_out(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a version of the batch without the examples beyond a limit."""
    user = require_role(request, Role.TRAINER)
    one = get_object_or_404(
        Learnability.objects.select_related("batch", "checkpoint"), pk=pk, measured=True
    )
    name = "above" if request.POST.get("side") == "above" else "below"
    try:
        limit = float(request.POST.get("limit", ""))
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        messages.error(request, "The limit is not a number. Write one such as -4.")
        return redirect("learnability:decisions", pk=one.batch_id)
    try:
        made = examples_leave_out(
            learnability=one,
            made_by=user,
            reason=request.POST.get("reason", ""),
            **{name: limit},
        )
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
        return redirect("learnability:decisions", pk=one.batch_id)
    return redirect("datasets:batch", pk=made.pk)
