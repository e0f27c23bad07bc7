"""Trying a prompt on a checkpoint beside the champion, and what was tried before."""

from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ftportal.accounts.models import User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import ANSWER_TOKENS
from ftportal.pages.lists import is_fragment, page_of
from ftportal.reviews import services
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.forms import TryForm
from ftportal.reviews.generation import asking_of
from ftportal.reviews.models import Trial
from ftportal.reviews.services import ReviewRefusedError
from ftportal.reviews.views_plans import checkpoint_of


@require_http_methods(["GET", "POST"])
def trials(request: HttpRequest, pk: int) -> HttpResponse:
    """Try a prompt on a checkpoint, and see what was tried on it."""
    if request.method == "POST":
        require_role(request, *services.TRIERS)
    checkpoint, user = checkpoint_of(pk), cast(User, request.user)
    form, refused = TryForm(request.POST if request.method == "POST" else None), None
    if request.method == "POST" and form.is_valid():
        try:
            asked = services.trial_ask(checkpoint=checkpoint, actor=user, **form.cleaned_data)
            return redirect("reviews:trial", pk=asked.pk)
        except ReviewRefusedError as error:
            refused = error
    elif request.method == "POST":
        refused = ReviewRefusedError(str(form.errors["prompt"][0]))
    is_blind = blindness_of(user).hides_answers(checkpoint.language_model_id)
    tried = Trial.objects.filter(answers__checkpoint=checkpoint).distinct()
    context: dict[str, Any] = {
        "checkpoint": checkpoint,
        "baseline": champion(checkpoint.language_model),
        "form": form,
        "answer_tokens": asking_of(checkpoint.language_model, ANSWER_TOKENS)["max_new_tokens"],
        "refused": refused,
        "why_not": _why_not(checkpoint, user),
        "may_try": any(user.has_role(role) for role in services.TRIERS),
        "is_blind": is_blind,
    }
    if not is_blind:
        context["listing"] = page_of(
            request,
            tried.select_related("asked_by").prefetch_related("answers__checkpoint"),
            sort={"asked": "created_at"},
            default="-asked",
        )
    return render(request, "reviews/trials.html", context, status=422 if refused else 200)


def _why_not(checkpoint: Any, user: User) -> str:
    """Why this person may not try a prompt now, in words; empty where they may."""
    try:
        services.trial_check(checkpoint, user)
    except ReviewRefusedError as refused:
        return str(refused)
    return ""


@require_GET
def trial(request: HttpRequest, pk: int) -> HttpResponse:
    """One tried prompt: both answers, growing while they are written."""
    tried = get_object_or_404(
        Trial.objects.select_related("checkpoint__language_model", "asked_by"), pk=pk
    )
    if blindness_of(request.user).hides_answers(tried.checkpoint.language_model_id):
        raise PermissionDenied(
            f"A spot-check of {tried.checkpoint.language_model} waits for votes that may be yours, "
            "and answers by name would tell you whose answers are whose."
        )
    answers = list(tried.answers.select_related("checkpoint", "job"))
    context = {
        "trial": tried,
        "answers": answers,
        "is_live": any(not one.complete and not one.job.is_settled for one in answers),
    }
    page = "reviews/_trial.html" if is_fragment(request) else "reviews/trial.html"
    return render(request, page, context)
