"""The one door: whoever has proved to be somebody gets in here, or is asked for the second factor.

Passwords, one-time links and a provider all lead here, so that none of them goes around it.
"""

import time
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme

from ftportal.accounts.models import User
from ftportal.accounts.openid.selectors import provider_name
from ftportal.accounts.second_factor.selectors import factor_asked

_BACKEND = "django.contrib.auth.backends.ModelBackend"
_WAITING, _WAIT_SECONDS = "entering", 600
PASSED = "second_factor"
"""Where a session keeps the key of the second factor that it has passed."""
WAY = "way_in"
"""Where a session keeps how it began, for the audit log."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Somebody who has proved the first factor."""

    person: User
    next_url: str
    by: str
    """The provider that vouched; empty for a password or a link."""


def enter(request: HttpRequest, person: User, *, next_url: str = "", by: str = "") -> HttpResponse:
    """Log in somebody who has proved to be `person`, or ask for the second factor first."""
    if request.user.is_authenticated:
        logout(request)
    if factor_asked(person) is None:
        return let_in(request, Waiting(person=person, next_url=next_url, by=by))
    request.session[_WAITING] = {
        "person": person.pk,
        "hash": person.get_session_auth_hash(),
        "next": next_url,
        "by": by,
        "at": time.time(),
    }
    request.session.cycle_key()
    return redirect("accounts:second_factor_ask")


def waiting(request: HttpRequest) -> Waiting | None:
    """Who is asked for the second factor in this browser; nobody after ten minutes.

    A new password, or being kept out, ends it too.
    """
    kept = request.session.get(_WAITING)
    if not kept or time.time() - kept["at"] > _WAIT_SECONDS:
        return None
    person = User.objects.filter(pk=kept["person"], is_active=True).first()
    if person is None or not constant_time_compare(kept["hash"], person.get_session_auth_hash()):
        return None
    return Waiting(person=person, next_url=kept["next"], by=kept["by"])


def let_in(request: HttpRequest, who: Waiting, *, factor: str = "") -> HttpResponse:
    """Log in; `factor` says in words which second factor was shown."""
    request.session.pop(_WAITING, None)
    way = {"with": who.by, "second_factor": factor}
    request.session[WAY] = {name: value for name, value in way.items() if value}
    login(request, who.person, backend=_BACKEND)
    if factor:
        pass_on(request, who.person)
    is_ours = url_has_allowed_host_and_scheme(
        who.next_url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(who.next_url if is_ours else resolve_url(settings.LOGIN_REDIRECT_URL))


def pass_on(request: HttpRequest, person: User) -> None:
    """Note that this session has passed the second factor that the person has now."""
    factor = factor_asked(person)
    request.session[PASSED] = None if factor is None else factor.pk


class LoginView(auth_views.LoginView):
    """The log-in page."""

    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """The password was right."""
        person = User.objects.get(pk=form.get_user().pk)
        return enter(self.request, person, next_url=self.get_redirect_url())

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        """With the provider's button, where there is one."""
        return {**super().get_context_data(**kwargs), "provider_name": provider_name()}
