"""Routes that are there only where something is configured."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required, login_required
from django.http import Http404, HttpRequest, HttpResponse

View = Callable[..., HttpResponse]


def only_where(is_on: Callable[[], bool]) -> Callable[[View], View]:
    """A view that is not there for anybody, logged in or not, unless `is_on()`."""

    def decorate(view: View) -> View:
        needs_login = getattr(view, "login_required", True)
        guarded: View = login_required(view) if needs_login else view

        @login_not_required
        @wraps(view)
        def answer(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
            if not is_on():
                raise Http404
            return guarded(request, *arguments, **named)

        return answer

    return decorate
