"""Signing in with the provider, and connecting an account there with a person here."""

import time
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from engine.errors import ProblemError
from ftportal.accounts.entering import enter
from ftportal.accounts.models import Role, User
from ftportal.accounts.openid.forms import ConnectForm
from ftportal.accounts.openid.protocol import Identity, SignInError, begin, finish
from ftportal.accounts.openid.selectors import is_on, provider_name
from ftportal.accounts.openid.services import (
    entry_refused,
    identity_connect,
    identity_disconnect,
    identity_person,
)
from ftportal.accounts.optional import only_where
from ftportal.accounts.roles import require_role
from ftportal.accounts.services import PersonError

_CONNECTING, _CONNECT_SECONDS = "connecting", 600


@only_where(is_on)
@never_cache
@login_not_required
@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Go to the provider.

    A link and not a form: the Content Security Policy holds forms to this portal, also where they
    are redirected to. Nothing comes of a link that somebody else made: it only signs in who follows
    it, and connecting takes the password first.
    """
    state: dict[str, Any] = {"next": request.GET.get("next", "")}
    if request.user.is_authenticated:
        asked_at = request.session.pop(_CONNECTING, 0)
        if time.time() - asked_at > _CONNECT_SECONDS:
            return redirect("dashboard:home")
        state["connect"] = request.user.pk
    try:
        return begin(request, **state)
    except SignInError as error:
        return _refusal(request, error, status=502)


@only_where(is_on)
@never_cache
@login_not_required
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Come back from the provider: log in, or connect where that was asked for."""
    try:
        identity, state = finish(request)
    except SignInError as error:
        if error.is_ours:
            reason = f"{error.message} {error.detail}".strip()
            entry_refused(identity=None, reason=reason)
        return _refusal(request, error, status=400)
    if state.get("connect"):
        return _connected(request, identity, state["connect"])
    try:
        person = identity_person(identity=identity, newcomers=settings.FTPORTAL_OIDC_NEWCOMERS)
    except PersonError as error:
        entry_refused(identity=identity, reason=error.message)
        return _refusal(request, error, identity=identity, status=403)
    return enter(request, person, next_url=state["next"], by=provider_name())


def _refusal(
    request: HttpRequest, error: ProblemError, *, status: int, identity: Identity | None = None
) -> HttpResponse:
    context = {
        "problem": error,
        "provider_name": provider_name(),
        "account": identity.label if identity is not None else "",
    }
    return render(request, "accounts/refused.html", context, status=status)


def _connected(request: HttpRequest, identity: Identity, pk: int) -> HttpResponse:
    """Connect with whoever asked for it, and with nobody who has logged in here since."""
    person = User.objects.filter(pk=pk).first()
    if person is None or request.user.pk != pk:
        return redirect("accounts:login")
    try:
        identity_connect(person=person, identity=identity)
    except PersonError as error:
        messages.error(request, f"{error.message} {error.cure}")
    else:
        messages.success(request, f"From now on you can sign in with {provider_name()}.")
    return redirect("accounts:account")


@only_where(is_on)
@never_cache
@require_POST
def connect(request: HttpRequest) -> HttpResponse:
    """Have the password shown before somebody connects an account."""
    person = User.objects.get(pk=request.user.pk or 0)
    form = ConnectForm(request.POST)
    if form.is_valid() and not person.check_password(form.cleaned_data["current"]):
        form.add_error("current", "That is not your password of now.")
    is_shown = form.is_valid()
    if is_shown:
        request.session[_CONNECTING] = time.time()
    context = {"form": form, "is_shown": is_shown, "provider_name": provider_name()}
    return render(request, "accounts/connect.html", context, status=200 if is_shown else 422)


@only_where(is_on)
@require_POST
def disconnect(request: HttpRequest) -> HttpResponse:
    """Forget one's own account with the provider."""
    person = User.objects.get(pk=request.user.pk or 0)
    _disconnect(request, person, by_person=True)
    return redirect("accounts:account")


@only_where(is_on)
@require_POST
def person_disconnect(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a person's account with the provider."""
    require_role(request, Role.ADMINISTRATOR)
    person = get_object_or_404(User, pk=pk)
    _disconnect(request, person, by_person=False)
    return redirect("accounts:person", pk=pk)


def _disconnect(request: HttpRequest, person: User, *, by_person: bool) -> None:
    try:
        identity_disconnect(person=person, by_person=by_person)
    except PersonError as error:
        messages.error(request, f"{error.message} {error.cure}")
    else:
        messages.success(request, f"{person} signs in with {provider_name()} no more.")
