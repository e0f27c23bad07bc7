"""The page on which a reviewer judges."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.pages.lists import whole_of
from ftportal.reviews import selectors, services
from ftportal.reviews.forms import VoteForm
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.services import ReviewRefusedError
from ftportal.reviews.views import spot_check_of


@require_http_methods(["GET", "HEAD", "POST"])
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Judge the next item."""
    user = require_role(request, Role.REVIEWER)
    spot_check = spot_check_of(pk)
    _may_judge(spot_check, user)
    if request.method == "POST":
        return _vote_cast(request, spot_check, user)
    return _ballot_page(request, spot_check, user, None)


def _may_judge(spot_check: SpotCheck, user: User) -> None:
    try:
        services.reviewer_check(spot_check, user)
    except ReviewRefusedError as refused:
        raise PermissionDenied(str(refused)) from refused


def _vote_cast(request: HttpRequest, spot_check: SpotCheck, user: User) -> HttpResponse:
    form = VoteForm(request.POST)
    if not form.is_valid():
        return _ballot_page(request, spot_check, user, form)
    judgement = dict(form.cleaned_data)
    item = get_object_or_404(spot_check.items, position=judgement.pop("position"))
    try:
        services.vote_cast(item=item, reviewer=user, **judgement)
    except ReviewRefusedError as refused:
        messages.warning(request, str(refused))
    return redirect("reviews:vote", pk=spot_check.pk)


def _ballot_page(
    request: HttpRequest, spot_check: SpotCheck, user: User, form: VoteForm | None
) -> HttpResponse:
    ballot = services.ballot_take(spot_check=spot_check, reviewer=user)
    if ballot is None:
        if selectors.votable_items(user).filter(spot_check=spot_check).exists():
            words = "The rest is being judged by others just now. Look again in some minutes."
            messages.info(request, words)
        elif spot_check.state == SpotCheckState.OPEN:
            messages.success(request, "Nothing is left for you to judge here. Thank you.")
        return redirect("reviews:spot_check", pk=spot_check.pk)
    if form is not None and form.data.get("position") != str(ballot.item.position):
        messages.warning(request, "Another prompt is next by now; that judgement was not kept.")
        return redirect("reviews:vote", pk=spot_check.pk)
    context = {
        "spot_check": spot_check,
        "ballot": ballot,
        "form": form or VoteForm(),
        "can_undo": selectors.vote_to_undo(spot_check, user) is not None,
    }
    return render(request, "reviews/vote.html", context, status=422 if form else 200)


@require_POST
def vote_undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one's last vote back."""
    user = require_role(request, Role.REVIEWER)
    try:
        services.vote_undo(spot_check=spot_check_of(pk), reviewer=user)
        messages.info(request, "Your last vote was taken back.")
    except ReviewRefusedError as refused:
        messages.warning(request, str(refused))
    return redirect("reviews:vote", pk=pk)


@require_POST
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    """Give back the item on one's page, so that others can judge it."""
    user = require_role(request, Role.REVIEWER)
    spot_check = spot_check_of(pk)
    position = whole_of(request.POST.get("position", ""))
    item = spot_check.items.filter(position=position).first() if position is not None else None
    if item is not None:
        services.item_release(item=item, reviewer=user)
    return redirect("reviews:reviews")
