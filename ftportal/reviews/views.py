"""The review queue and the page of one spot-check."""

from typing import Any, cast

from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import PromptSet
from ftportal.jobs.models import JobState
from ftportal.jobs.services import job_resume
from ftportal.pages.lists import is_fragment, page_of
from ftportal.reviews import selectors, services
from ftportal.reviews.findings import findings
from ftportal.reviews.forms import DecisionForm, OpenForm, PlanForm
from ftportal.reviews.models import MOST_VOTES_AN_ITEM, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.plan import plan_sentences
from ftportal.reviews.services import ReviewRefusedError


def spot_check_of(pk: int) -> SpotCheck:
    """The spot-check that an address names, with all that its pages show."""
    spot_checks = SpotCheck.objects.select_related(
        "candidate__language_model",
        "baseline",
        "prompt_set",
        "submitter",
        "decided_by",
        "candidate_answers__job",
        "baseline_answers__job",
    )
    return get_object_or_404(spot_checks, pk=pk)


@require_GET
def reviews(request: HttpRequest) -> HttpResponse:
    """What waits for this person, then all spot-checks."""
    state = request.GET.get("state", "")
    listing = page_of(
        request,
        selectors.spot_check_list(state=state),
        sort={"opened": "created_at", "prompts": "prompt_set__name", "decided": "decided_at"},
        default="-opened",
    )
    progress = selectors.progress_by_pk(listing.object_list)
    rows = [
        (one, progress[one.pk], selectors.may_be_shown(one, progress[one.pk]))
        for one in listing.object_list
    ]
    context: dict[str, Any] = {
        "listing": listing,
        "rows": rows,
        "state": state,
        "states": SpotCheckState.choices,
    }
    if is_fragment(request):
        return render(request, "reviews/_spot_checks.html", context)
    context["waiting"] = selectors.waiting_for(cast(User, request.user))
    return render(request, "reviews/reviews.html", context)


@require_GET
def spot_check(request: HttpRequest, pk: int) -> HttpResponse:
    """One spot-check: plan and progress first, findings with names once all votes are in."""
    shown = spot_check_of(pk)
    if not is_fragment(request):
        return _spot_check_page(request, shown, DecisionForm())
    if shown.state == SpotCheckState.GENERATING:
        return render(request, "reviews/_preparing.html", _preparing_context(request, shown))
    return HttpResponse(headers={"HX-Refresh": "true"})


def _preparing_context(request: HttpRequest, spot_check: SpotCheck) -> dict[str, Any]:
    """How far the answers are, without saying whose are whose."""
    user = cast(User, request.user)
    sides = {
        "One model": spot_check.candidate_answers,
        "The other model": spot_check.baseline_answers,
    }
    missing = [answers.job for answers in sides.values() if not answers.complete]
    stopped = [job for job in missing if job.state in (JobState.FAILED, JobState.CANCELLED)]
    return {
        "spot_check": spot_check,
        "sides": list(sides.items()),
        "is_preparing": len(stopped) < max(1, len(missing)),
        "has_stopped": bool(stopped),
        "may_retry": user.has_role(Role.REVIEWER) or user.has_role(Role.TRAINER),
    }


def _spot_check_page(
    request: HttpRequest, spot_check: SpotCheck, form: DecisionForm, status: int = 200
) -> HttpResponse:
    user = cast(User, request.user)
    progress = selectors.progress(spot_check)
    shown = selectors.may_be_shown(spot_check, progress)
    context = {
        "spot_check": spot_check,
        "progress": progress,
        "plan": plan_sentences(spot_check, progress.item_count),
        "findings": findings(spot_check) if shown else None,
        "form": form,
        "is_reviewer": user.has_role(Role.REVIEWER),
        "is_submitter": spot_check.submitter_id == user.pk,
        "items_for_me": selectors.open_items(user).filter(spot_check=spot_check).count(),
        "my_votes": Vote.objects.filter(item__spot_check=spot_check, reviewer=user).count(),
        "most_votes": MOST_VOTES_AN_ITEM,
    }
    if spot_check.state == SpotCheckState.GENERATING:
        context |= _preparing_context(request, spot_check)
    return render(request, "reviews/spot_check.html", context, status=status)


@require_POST
def plan_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change how many reviewers judge each prompt, before the first vote."""
    user = require_role(request, Role.REVIEWER)
    form = PlanForm(request.POST)
    spot_check = spot_check_of(pk)
    try:
        if not form.is_valid():
            raise ReviewRefusedError("The number of votes is a whole number from 1 to 9.")
        services.spot_check_plan_change(spot_check=spot_check, actor=user, **form.cleaned_data)
    except ReviewRefusedError as refused:
        messages.error(request, str(refused))
    return redirect("reviews:spot_check", pk=pk)


@require_POST
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject."""
    user = require_role(request, Role.REVIEWER)
    spot_check = spot_check_of(pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _spot_check_page(request, spot_check, form, status=422)
    try:
        services.spot_check_decide(
            spot_check=spot_check,
            decided_by=user,
            approve=form.cleaned_data["decision"] == "approve",
            reason=form.cleaned_data["reason"],
        )
    except ReviewRefusedError as refused:
        form.add_error("reason", str(refused))
        return _spot_check_page(request, spot_check, form, status=422)
    messages.success(request, "Your decision is recorded.")
    return redirect("reviews:spot_check", pk=pk)


@require_POST
def generation_retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Start the answers that failed or were stopped again."""
    require_role(request, Role.REVIEWER, Role.TRAINER)
    spot_check = spot_check_of(pk)
    for answers in (spot_check.candidate_answers, spot_check.baseline_answers):
        if not answers.complete:
            job_resume(job=answers.job)
    return redirect("reviews:spot_check", pk=pk)


@require_POST
def spot_check_open(request: HttpRequest, pk: int) -> HttpResponse:
    """Open a spot-check of a checkpoint against the champion by hand."""
    user = require_role(request, Role.REVIEWER, Role.TRAINER)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    form = OpenForm(request.POST)
    try:
        if not form.is_valid():
            problem = next(iter(form.errors.values()))[0]
            raise ReviewRefusedError(str(problem), "Choose a prompt set and from 1 to 9 votes.")
        opened = services.spot_check_open(
            candidate=checkpoint,
            baseline=champion(checkpoint.language_model),
            submitter=selectors.checkpoint_submitter(checkpoint)
            or (user if user.has_role(Role.TRAINER) else None),
            **form.cleaned_data,
        )
    except ReviewRefusedError as refused:
        messages.error(request, str(refused))
        return redirect("checkpoints:checkpoint", pk=pk)
    return redirect("reviews:spot_check", pk=opened.pk)


@require_GET
def checkpoint_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """A checkpoint's spot-checks, for the checkpoint's page."""
    user = cast(User, request.user)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    baseline = champion(checkpoint.language_model)
    spot_checks = list(selectors.spot_checks_of(checkpoint))
    progress = selectors.progress_by_pk(spot_checks)
    can_open = (
        (user.has_role(Role.REVIEWER) or user.has_role(Role.TRAINER))
        and checkpoint.pk != baseline.pk
        and checkpoint.deleted_at is None
        and not any(one.baseline_id == baseline.pk for one in spot_checks)
    )
    context = {
        "checkpoint": checkpoint,
        "baseline": baseline,
        "rows": [(one, progress[one.pk]) for one in spot_checks],
        "can_open": can_open,
        "prompt_sets": PromptSet.objects.order_by(F("created_at").asc()) if can_open else (),
        "most_votes": MOST_VOTES_AN_ITEM,
    }
    return render(request, "reviews/_checkpoint_panel.html", context)
