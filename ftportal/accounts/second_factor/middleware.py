"""No session goes on without the second factor that its person has, or must have."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from ftportal.accounts.entering import PASSED
from ftportal.accounts.models import User
from ftportal.accounts.second_factor.selectors import factor_of, is_on, is_required

_ALLOWED = frozenset({"accounts:second_factor", "accounts:logout"})
"""What somebody without a second factor may do where everybody must have one."""


class SecondFactorMiddleware:
    """Ends sessions that have not passed the second factor; sends on who must set one up.

    The log-in asks for it already; this holds whatever way a session came about.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, named: Any
    ) -> HttpResponse | None:
        """Nothing where the session may go on."""
        if not is_on() or not isinstance(request.user, User):
            return None
        factor = factor_of(request.user)
        if factor is not None:
            if request.session.get(PASSED) == factor.pk:
                return None
            logout(request)
            return _sent(request, "accounts:login")
        match = request.resolver_match
        if not is_required() or (match is not None and match.view_name in _ALLOWED):
            return None
        return _sent(request, "accounts:second_factor")


def _sent(request: HttpRequest, name: str) -> HttpResponse:
    """A redirect, which takes the whole page along where only a part of it was asked for."""
    answer = redirect(name)
    return HttpResponseClientRedirect(answer.url) if HtmxDetails(request) else answer
