"""The review queue and the page of one spot-check."""

from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.jobs.models import JobState
from ftportal.jobs.services import job_resume
from ftportal.pages.lists import is_fragment, page_of
from ftportal.reviews import selectors, services
from ftportal.reviews.blindness import Blindness, blindness_of
from ftportal.reviews.champions import champions_answers
from ftportal.reviews.findings import findings
from ftportal.reviews.forms import DecisionForm
from ftportal.reviews.generation import ANSWERS_WORDS
from ftportal.reviews.judging.exports import chosen_answers
from ftportal.reviews.models import MOST_VOTES_AN_ITEM, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.people import people_context, progress_by_person
from ftportal.reviews.plan import plan_sentences
from ftportal.reviews.policy import policy_in_force
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
    blindness = blindness_of(request.user)
    rows = [
        (one, progress[one.pk], selectors.names_shown(one, progress[one.pk], blindness))
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
    context |= {
        "waiting": selectors.waiting_for(cast(User, request.user)),
        "policy": policy_in_force(),
    }
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
    blindness = blindness_of(user)
    context = {
        "spot_check": spot_check,
        "progress": progress,
        "names_shown": selectors.names_shown(spot_check, progress, blindness),
        "plan": plan_sentences(spot_check, progress.item_count),
        "answers_words": ANSWERS_WORDS,
        "form": form,
        "is_reviewer": user.has_role(Role.REVIEWER),
        "is_submitter": spot_check.submitter_id == user.pk,
        "items_for_me": selectors.open_items(user).filter(spot_check=spot_check).count(),
        "my_votes": Vote.objects.filter(item__spot_check=spot_check, reviewer=user).count(),
        "most_votes": MOST_VOTES_AN_ITEM,
    }
    if selectors.may_be_shown(spot_check, progress):
        context |= _findings_context(spot_check, user, blindness)
    elif not spot_check.is_closed:
        context |= people_context(spot_check, user, blindness)
    if spot_check.state == SpotCheckState.GENERATING:
        context |= _preparing_context(request, spot_check)
    return render(request, "reviews/spot_check.html", context, status=status)


def _findings_context(spot_check: SpotCheck, user: User, blindness: Blindness) -> dict[str, Any]:
    """Findings; answers and what was said of them only where they sway no vote."""
    hidden = blindness.hides_answers(spot_check.candidate.language_model_id)
    return {
        "findings": findings(spot_check),
        "answers_hidden": hidden,
        "champions": {} if hidden else champions_answers(spot_check),
        "may_decide": selectors.may_decide(spot_check, user),
        "people": progress_by_person(spot_check),
        "chosen": None if hidden or not spot_check.is_decided else chosen_answers(spot_check),
        "names_reviewers": policy_in_force().names_reviewers,
    }


@require_POST
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject."""
    user = require_role(request, Role.REVIEWER, Role.RELEASER)
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
