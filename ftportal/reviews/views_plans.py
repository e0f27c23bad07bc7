"""Opening a spot-check, its plan, who judges it, its end without a decision, and the policy."""

from typing import Any, cast

from django.contrib import messages
from django.db.models import Count, F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import PromptSet
from ftportal.pages.lists import is_fragment
from ftportal.reviews import selectors, services
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.forms import AssignForm, CloseForm, OpenForm, PlanForm, PolicyForm
from ftportal.reviews.generation import ANSWERS_WORDS
from ftportal.reviews.models import MOST_VOTES_AN_ITEM, UNDECIDED, ReviewPolicy
from ftportal.reviews.plan import DEFECTS_SHOWN, passing_chart, trades
from ftportal.reviews.policy import default_policy, policy_in_force, policy_of
from ftportal.reviews.services import ReviewRefusedError
from ftportal.reviews.views import spot_check_of


def checkpoint_of(pk: int) -> Checkpoint:
    """The checkpoint that an address names."""
    return get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)


@require_http_methods(["GET", "POST"])
def spot_check_open(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose a plan and open a spot-check of a checkpoint against the champion."""
    user = require_role(request, Role.REVIEWER, Role.TRAINER)
    checkpoint = checkpoint_of(pk)
    form = _first_form(request) if request.method == "GET" else OpenForm(request.POST)
    try:
        services.opener_check(checkpoint, user)
        if request.method == "GET" or not form.is_valid():
            return _open_page(request, checkpoint, form, None)
        opened = services.spot_check_open(
            candidate=checkpoint,
            baseline=champion(checkpoint.language_model),
            submitter=selectors.checkpoint_submitter(checkpoint)
            or (user if user.has_role(Role.TRAINER) else None),
            **form.cleaned_data,
        )
    except ReviewRefusedError as refused:
        return _open_page(request, checkpoint, form, refused)
    return redirect("reviews:spot_check", pk=opened.pk)


def _first_form(request: HttpRequest) -> OpenForm:
    """What the address asks for; before anything was chosen, what the policy gives."""
    if "prompt_set" in request.GET:
        return OpenForm(request.GET)
    first = _prompt_sets().first()
    votes = policy_in_force().reviewers_an_item
    return OpenForm({"prompt_set": first.name if first else "", "votes_an_item": votes})


def _prompt_sets() -> Any:
    sets = PromptSet.objects.annotate(prompt_count=Count("prompts")).filter(prompt_count__gt=0)
    return sets.order_by(F("created_at").asc(), "pk")


def _open_page(
    request: HttpRequest,
    checkpoint: Checkpoint,
    form: OpenForm,
    refused: ReviewRefusedError | None,
) -> HttpResponse:
    """The chooser: what was chosen, what it proves, and what else would."""
    plan, pool = None, None
    if form.is_valid():
        asked = form.cleaned_data["prompt_set"]
        pool = _prompt_sets().filter(pk=asked.pk).first() if asked.is_pool else None
        try:
            plan = services.plan_fix(**form.cleaned_data) if refused is None else None
        except ReviewRefusedError as error:
            refused = error
    context: dict[str, Any] = {
        "checkpoint": checkpoint,
        "baseline": champion(checkpoint.language_model),
        "form": form,
        "refused": refused,
        "plan": plan,
        "pool": pool,
        "policy": policy_in_force(),
        "prompt_sets": list(_prompt_sets()),
        "most_votes": MOST_VOTES_AN_ITEM,
        "answers_words": ANSWERS_WORDS,
        "defects_shown": DEFECTS_SHOWN,
    }
    if pool is not None:
        drawn = plan.item_count if plan else form.cleaned_data["item_count"] or 0
        context["trades"] = trades(pool.prompt_count, drawn)
        if plan is not None:
            context["chart"] = passing_chart(plan.item_count, plan.defects_allowed)
    status = 422 if request.method == "POST" else 200
    page = "reviews/_open.html" if is_fragment(request) else "reviews/open.html"
    return render(request, page, context, status=status)


@require_GET
def checkpoint_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """A checkpoint's spot-checks, for the checkpoint's page."""
    user = cast(User, request.user)
    checkpoint = checkpoint_of(pk)
    baseline = champion(checkpoint.language_model)
    blindness = blindness_of(user)
    spot_checks = list(selectors.spot_checks_of(checkpoint))
    progress = selectors.progress_by_pk(spot_checks)
    is_blind = blindness.hides_answers(checkpoint.language_model_id)
    can_open = (
        (user.has_role(Role.REVIEWER) or user.has_role(Role.TRAINER))
        and not is_blind
        and checkpoint.pk != baseline.pk
        and checkpoint.deleted_at is None
        and not any(one.state in UNDECIDED for one in spot_checks)
    )
    context = {
        "checkpoint": checkpoint,
        "baseline": baseline,
        "rows": [
            (one, progress[one.pk])
            for one in spot_checks
            if not is_blind or selectors.may_be_shown(one, progress[one.pk])
        ],
        "is_blind": is_blind,
        "can_open": can_open,
        "may_try": not is_blind and any(user.has_role(role) for role in services.TRIERS),
    }
    return render(request, "reviews/_checkpoint_panel.html", context)


@require_POST
def plan_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change reviewers a prompt and defects allowed, before the first vote."""
    user = require_role(request, Role.REVIEWER)
    form = PlanForm(request.POST)
    spot_check = spot_check_of(pk)
    try:
        if not form.is_valid():
            raise ReviewRefusedError(str(next(iter(form.errors.values()))[0]))
        services.spot_check_plan_change(spot_check=spot_check, actor=user, **form.cleaned_data)
    except ReviewRefusedError as refused:
        messages.error(request, str(refused))
    return redirect("reviews:spot_check", pk=pk)


@require_POST
def assign(request: HttpRequest, pk: int) -> HttpResponse:
    """Name the reviewers of a check, or give it back to the queue."""
    user = require_role(request, Role.ADMINISTRATOR, Role.RELEASER)
    spot_check = spot_check_of(pk)
    form = AssignForm(request.POST)
    try:
        if not form.is_valid():
            raise ReviewRefusedError(str(next(iter(form.errors.values()))[0]))
        reviewers = list(form.cleaned_data["reviewers"])
        services.spot_check_assign(spot_check=spot_check, reviewers=reviewers, actor=user)
        named = ", ".join(map(str, reviewers))
        messages.success(
            request, f"{named} judge it." if reviewers else "Every reviewer may judge it now."
        )
    except ReviewRefusedError as refused:
        messages.error(request, str(refused))
    return redirect("reviews:spot_check", pk=pk)


@require_POST
def close(request: HttpRequest, pk: int) -> HttpResponse:
    """End a check without a decision."""
    user = require_role(request, Role.ADMINISTRATOR)
    form = CloseForm(request.POST)
    try:
        if not form.is_valid():
            raise ReviewRefusedError(str(next(iter(form.errors.values()))[0]))
        services.spot_check_close(spot_check=spot_check_of(pk), actor=user, **form.cleaned_data)
        messages.success(request, "The check is closed.")
    except ReviewRefusedError as refused:
        messages.error(request, str(refused))
    return redirect("reviews:spot_check", pk=pk)


@require_http_methods(["GET", "POST"])
def policy(request: HttpRequest) -> HttpResponse:
    """The policy in force and why; administrators change it here."""
    in_force = policy_in_force()
    form = PolicyForm.of(in_force)
    if request.method == "POST":
        user = require_role(request, Role.ADMINISTRATOR)
        form = PolicyForm(request.POST)
        if form.is_valid():
            try:
                made = services.review_policy_set(actor=user, **form.cleaned_data)
            except ReviewRefusedError as refused:
                form.add_error(None, str(refused))
            else:
                messages.success(request, f"Version {made.version} is in force.")
                return redirect("reviews:policy")
    earlier = ReviewPolicy.objects.select_related("made_by")[1:]
    context = {
        "policy": in_force,
        "form": form,
        "earlier": [(one, policy_of(one)) for one in earlier],
        "default": default_policy() if in_force.version else None,
    }
    return render(request, "reviews/policy.html", context, status=422 if form.errors else 200)
