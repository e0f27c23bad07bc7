"""The page on which a reviewer judges: every item has its own address, also when it was judged."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from corpus.reasoning import answer_split
from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.pages.lists import whole_of
from ftportal.reviews import selectors, services
from ftportal.reviews.forms import VoteForm
from ftportal.reviews.judging.items import ItemPage, item_page, my_votes, standing
from ftportal.reviews.judging.reading import SHOWS, pair_of
from ftportal.reviews.judging.skips import item_return, item_skip, skipped_items
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.services import JudgedBeforeError, ReviewRefusedError
from ftportal.reviews.views import spot_check_of


@require_GET
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Go to the next item; `?skipped` to the first one that was put off."""
    user, spot_check = _reviewer_of(request, pk)
    return _next(request, spot_check, user, returns="skipped" in request.GET)


@require_http_methods(["GET", "HEAD", "POST"])
def item(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """One item: to judge, as it was judged, or with `?change` to judge otherwise."""
    user, spot_check = _reviewer_of(request, pk)
    page = _item_page(spot_check, number, user)
    if request.method == "POST":
        return _vote_take(request, spot_check, page, user)
    form = VoteForm.of(page.vote) if page.vote else VoteForm()
    is_change = page.may_change and "change" in request.GET
    if page.vote is None and not page.why_not:
        services.item_hold(item=page.ballot.item, reviewer=user)
    return _page(request, spot_check, page, user, form, is_change=is_change)


@require_GET
def answers(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Both answers of an item, laid out, as written or compared; a fragment."""
    user, spot_check = _reviewer_of(request, pk)
    page = _item_page(spot_check, number, user)
    return render(request, "reviews/_answers.html", _answers_context(request, spot_check, page))


@require_GET
def answer_text(request: HttpRequest, pk: int, number: int, side: str) -> HttpResponse:
    """One answer as plain text without its reasoning, to begin a corrected one with."""
    user, spot_check = _reviewer_of(request, pk)
    ballot = _item_page(spot_check, number, user).ballot
    if side not in ("left", "right"):
        raise Http404
    text = answer_split((ballot.left if side == "left" else ballot.right).text)[1]
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@require_POST
def skip(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Put an item off and go to the next one."""
    user, spot_check = _reviewer_of(request, pk)
    page = _item_page(spot_check, number, user)
    services.item_release(item=page.ballot.item, reviewer=user)
    item_skip(request, page.ballot.item)
    return _next(request, spot_check, user, after_skip=number)


@require_POST
def leave(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Give back the item on one's page, so that others can judge it."""
    user, spot_check = _reviewer_of(request, pk)
    item = spot_check.items.filter(position=number - 1).first()
    if item is not None:
        services.item_release(item=item, reviewer=user)
    return redirect("reviews:reviews")


@require_POST
def vote_undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back one's vote on the item `number`, or without it the last one."""
    user, spot_check = _reviewer_of(request, pk)
    number = whole_of(request.POST.get("number", ""))
    named = spot_check.items.filter(position=number - 1).first() if number else None
    try:
        undone = services.vote_undo(spot_check=spot_check, reviewer=user, item=named)
    except ReviewRefusedError as refused:
        messages.warning(request, str(refused))
        return redirect("reviews:mine", pk=pk)
    place = undone.position + 1
    messages.info(request, f"Your vote on prompt {place} was taken back. Judge it anew.")
    return redirect("reviews:item", pk=pk, number=place)


@require_GET
def mine(request: HttpRequest, pk: int) -> HttpResponse:
    """One's own votes on a spot-check, to look at, change and take back."""
    user, spot_check = _reviewer_of(request, pk)
    progress = selectors.progress(spot_check)
    context = {
        "spot_check": spot_check,
        "votes": my_votes(spot_check, user),
        "standing": standing(spot_check, user, skipped_items(request, spot_check)),
        "may_change": spot_check.state == SpotCheckState.OPEN,
        "findings_shown": selectors.may_be_shown(spot_check, progress),
    }
    return render(request, "reviews/mine.html", context)


def _reviewer_of(request: HttpRequest, pk: int) -> tuple[User, SpotCheck]:
    """The reviewer who asks, and the check; PermissionDenied for anybody who may not judge it."""
    user = require_role(request, Role.REVIEWER)
    spot_check = spot_check_of(pk)
    try:
        services.reviewer_check(spot_check, user)
    except ReviewRefusedError as refused:
        raise PermissionDenied(str(refused)) from refused
    return user, spot_check


def _item_page(spot_check: SpotCheck, number: int, user: User) -> ItemPage:
    page = item_page(spot_check, number, user)
    if page is None:
        raise Http404
    return page


def _vote_take(
    request: HttpRequest, spot_check: SpotCheck, page: ItemPage, user: User
) -> HttpResponse:
    form = VoteForm(request.POST)
    is_change = "change" in request.POST
    here = _to(request, "reviews:item", pk=spot_check.pk, number=page.ballot.number)
    if form.data.get("seen") != page.seen:
        words = "This prompt, its answers or their sides have changed since you opened the page. "
        messages.warning(request, words + "Nothing was recorded: look again.")
        return here
    if not form.is_valid():
        if page.vote and not is_change:  # an old page, sent again
            messages.warning(request, "You have judged this prompt before, and that vote stands.")
            return here
        return _page(request, spot_check, page, user, form, is_change=is_change, status=422)
    give = services.vote_change if is_change else services.vote_cast
    try:
        give(item=page.ballot.item, reviewer=user, **form.judgement)
    except JudgedBeforeError as refused:
        messages.warning(request, str(refused))
        return here
    except ReviewRefusedError as refused:
        messages.warning(request, f"Not recorded. {refused}")
        return _to(request, "reviews:vote", pk=spot_check.pk)
    item_return(request, page.ballot.item)
    if is_change:
        messages.success(request, "Your vote was changed.")
        return here
    return _next(request, spot_check, user)


def _next(
    request: HttpRequest,
    spot_check: SpotCheck,
    user: User,
    *,
    returns: bool = False,
    after_skip: int = 0,
) -> HttpResponse:
    """Go to the next item; to those that were put off once no other is left, or if asked to."""
    skipped = skipped_items(request, spot_check)
    ballot = (
        None if returns else services.ballot_take(spot_check=spot_check, reviewer=user, but=skipped)
    )
    if ballot is None and skipped:
        open_items = selectors.open_items(user).filter(spot_check=spot_check)
        left = open_items.in_bulk(skipped)
        put_off = next((left[one] for one in skipped if one in left), None)
        if put_off is not None:
            return _to_skipped(request, put_off.position + 1, spot_check, len(left), after_skip)
    if ballot is None:
        _nothing_left(request, spot_check, user)
        return redirect("reviews:mine", pk=spot_check.pk)
    return _to(request, "reviews:item", pk=spot_check.pk, number=ballot.number)


def _nothing_left(request: HttpRequest, spot_check: SpotCheck, user: User) -> None:
    if selectors.votable_items(user).filter(spot_check=spot_check).exists():
        words = "The rest is being judged by others just now. Look again in some minutes."
        messages.info(request, words)
    elif spot_check.state == SpotCheckState.OPEN:
        messages.success(request, "Nothing is left for you to judge here. Thank you.")


def _to_skipped(
    request: HttpRequest, number: int, spot_check: SpotCheck, count: int, after_skip: int
) -> HttpResponse:
    if number == after_skip:
        words = "This is the only one left for you here. You can leave it and come back later."
    elif count == 1:
        words = "Only the prompt that you skipped is left."
    else:
        words = f"Only the {count} prompts that you skipped are left."
    if after_skip or "skipped" not in request.GET:
        messages.info(request, words)
    return _to(request, "reviews:item", pk=spot_check.pk, number=number)


def _to(request: HttpRequest, name: str, **where: Any) -> HttpResponseRedirect:
    """Go there, and show answers in the same manner."""
    show = (request.POST if request.method == "POST" else request.GET).get("show", "")
    query = f"?{urlencode({'show': show})}" if show in SHOWS[1:] else ""
    return HttpResponseRedirect(reverse(name, kwargs=where) + query)


def _answers_context(request: HttpRequest, spot_check: SpotCheck, page: ItemPage) -> dict[str, Any]:
    show = (request.POST if request.method == "POST" else request.GET).get("show", "")
    pair = pair_of(page.ballot.left, page.ballot.right, show)
    return {"spot_check": spot_check, "ballot": page.ballot, "pair": pair}


def _page(
    request: HttpRequest,
    spot_check: SpotCheck,
    page: ItemPage,
    user: User,
    form: VoteForm,
    *,
    is_change: bool,
    status: int = 200,
) -> HttpResponse:
    context = _answers_context(request, spot_check, page) | {
        "page": page,
        "form": form,
        "is_change": is_change,
        "is_open": is_change or (page.vote is None and not page.why_not),
        "standing": standing(spot_check, user, skipped_items(request, spot_check)),
    }
    return render(request, "reviews/item.html", context, status=status)
