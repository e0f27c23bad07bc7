"""The page that blends a checkpoint back toward its parent."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.blends.forms import BlendForm
from ftportal.blends.selectors import blend_of, blends_of
from ftportal.blends.services import BlendRefusedError, blends_request
from ftportal.checkpoints.models import Checkpoint


@require_http_methods(["GET", "POST"])
def blends(request: HttpRequest, pk: int) -> HttpResponse:
    """The blends of a checkpoint with its parent, and the form that asks for more."""
    user = require_role(request, Role.TRAINER) if request.method == "POST" else None
    candidate = get_object_or_404(
        Checkpoint.objects.select_related("language_model", "parent"), pk=pk
    )
    if request.method == "GET":
        return _page(request, candidate, BlendForm(initial=_initial(request)))
    form = BlendForm(request.POST)
    if not form.is_valid():
        return _page(request, candidate, form, status=422)
    try:
        asked = blends_request(
            candidate=candidate, alphas=form.cleaned_data["percents"], submitter=user
        )
    except BlendRefusedError as refused:
        form.add_error("percents", str(refused))
        return _page(request, candidate, form, status=422)
    live = sum(one.job.is_live for one in asked)
    if live:
        messages.success(request, f"{live} blend{'s wait' if live > 1 else ' waits'} for a worker.")
    else:
        messages.info(request, "They are there already; nothing is made twice.")
    return redirect("blends:blends", pk=pk)


def _initial(request: HttpRequest) -> dict[str, str]:
    percents = request.GET.get("percents", "")[:80]
    return {"percents": percents} if percents else {}


def _page(
    request: HttpRequest, candidate: Checkpoint, form: BlendForm, status: int = 200
) -> HttpResponse:
    blends = blends_of(candidate)
    ends = [one for one in (candidate, candidate.parent) if one is not None]
    context = {
        "candidate": candidate,
        "form": form,
        "blends": blends,
        "unfinished": [one for one in blends if one.result is None or not one.job.is_settled],
        "deleted": next((one for one in ends if one.deleted_at is not None), None),
    }
    return render(request, "blends/blends.html", context, status=status)


@require_GET
def origin(request: HttpRequest, pk: int) -> HttpResponse:
    """For a checkpoint's page: what it was blended from; empty where it is not a blend."""
    checkpoint = get_object_or_404(Checkpoint, pk=pk)
    return render(request, "blends/_origin.html", {"blend": blend_of(checkpoint)})
