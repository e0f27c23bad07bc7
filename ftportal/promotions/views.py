"""The promotions page: champion, candidates with their gates, ledger, rollback."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.pages.lists import ListPage, page_of
from ftportal.promotions import selectors, services
from ftportal.promotions.forms import PromoteForm, RollbackForm
from ftportal.promotions.ledger import ledger_check
from ftportal.promotions.policy import policy_in_force
from ftportal.promotions.selectors import Candidate
from ftportal.promotions.services import PromotionRefusedError
from ftportal.reviews.policy import policy_in_force as review_policy

CANDIDATES_A_PAGE = 8


@require_GET
def promotions(request: HttpRequest) -> HttpResponse:
    """The champion of one language model and how it came there."""
    models = LanguageModel.objects.all()
    wanted = request.GET.get("model")
    model = models.filter(name=wanted).first() if wanted else models.order_by("pk").first()
    if model is None and models.exists():
        model = models.order_by("pk").first()
    return _page(request, model)


def _page(
    request: HttpRequest, model: LanguageModel | None, status: int = 200, **extra: Any
) -> HttpResponse:
    if model is None:
        return render(request, "promotions/promotions.html", {"model": None})
    context = _ledger_context(request, model)
    candidates = selectors.candidates_of(selectors.candidates(model), request.user)
    wanted: Any = request.GET.get("candidates")
    if "tried" in extra:
        wanted = _page_with(extra["tried"], candidates)
    page = Paginator(candidates, CANDIDATES_A_PAGE).get_page(wanted)
    context |= {
        "models": LanguageModel.objects.all(),
        "policy": policy_in_force(),
        "champion": champion(model),
        "champion_event": selectors.champion_event(model),
        "candidates": selectors.with_files(page, request.user),
        "review_policy": review_policy(),
        "candidate_page": page,
        "rollback_targets": selectors.rollback_targets(model),
        "is_releaser": isinstance(request.user, User) and request.user.has_role(Role.RELEASER),
    }
    return render(request, "promotions/promotions.html", context | extra, status=status)


def _page_with(checkpoint: Checkpoint, candidates: Sequence[Candidate]) -> int:
    """The number of the page that a candidate stands on; the first where it is none."""
    places = (at for at, one in enumerate(candidates) if one.checkpoint == checkpoint)
    return 1 + next(places, 0) // CANDIDATES_A_PAGE


def _ledger_context(request: HttpRequest, model: LanguageModel) -> dict[str, Any]:
    listing: ListPage = page_of(
        request,
        selectors.ledger(model),
        sort={"when": "number", "what": "action", "who": "actor__username"},
        default="-when",
    )
    return {"model": model, "listing": listing, "ledger_check": ledger_check(model)}


@require_POST
def promote(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a candidate the champion."""
    user = require_role(request, Role.RELEASER)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    form = PromoteForm(request.POST)
    try:
        if not form.is_valid():
            raise PromotionRefusedError(str(next(iter(form.errors.values()))[0]))
        services.promote(checkpoint=checkpoint, actor=user, **form.cleaned_data)
    except PromotionRefusedError as refused:
        extra = {"refused": refused, "tried": checkpoint, "form": form, "refused_word": "promoted"}
        return _page(request, checkpoint.language_model, 422, **extra)
    messages.success(request, f"{checkpoint} is the champion now.")
    return _back(checkpoint.language_model)


@require_POST
def rollback(request: HttpRequest) -> HttpResponse:
    """Go back to an earlier champion or to the anchor."""
    user = require_role(request, Role.RELEASER)
    form = RollbackForm(request.POST)
    model = get_object_or_404(LanguageModel, name=request.POST.get("model", ""))
    try:
        if not form.is_valid():
            raise PromotionRefusedError(str(next(iter(form.errors.values()))[0]))
        to = model.checkpoints.filter(name=form.cleaned_data["to"]).first()
        if to is None:
            raise PromotionRefusedError(
                f"{model} has no checkpoint of that name.", "Choose one from the list."
            )
        services.rollback(
            language_model=model, to=to, actor=user, reason=form.cleaned_data["reason"]
        )
    except PromotionRefusedError as refused:
        return _page(request, model, 422, rollback_refused=refused, rollback_form=form)
    messages.success(request, f"{to} is the champion again.")
    return _back(model)


@require_POST
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """Judge a candidate against the champion of now."""
    require_role(request, Role.TRAINER, Role.REVIEWER, Role.RELEASER)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    try:
        services.champion_compare(checkpoint=checkpoint)
    except PromotionRefusedError as refused:
        extra = {"refused": refused, "tried": checkpoint, "refused_word": "compared"}
        return _page(request, checkpoint.language_model, 422, **extra)
    return redirect(selectors.place_of(checkpoint))


def _back(model: LanguageModel) -> HttpResponse:
    """The top of the model's page, where it says what has been done.

    The part after # is named, for a browser keeps that of the form's address otherwise.
    """
    query = urlencode({"model": model.name})
    return redirect(f"{reverse('promotions:promotions')}?{query}#main")


@require_GET
def checkpoint_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """A checkpoint's stage and gates, for the checkpoint's page."""
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    context = {
        "checkpoint": checkpoint,
        "stage": selectors.stage(checkpoint, request.user),
        "candidate": selectors.candidate_of(checkpoint, request.user),
        "events": selectors.events_of(checkpoint),
    }
    return render(request, "promotions/_checkpoint_panel.html", context)
