"""Who is acting: known from the request, so that no service has to be told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse


@dataclass(frozen=True, kw_only=True)
class Acting:
    """A person and the address that a request came from."""

    user: Any
    """The logged-in user; None for the portal itself."""
    address: str | None


_PORTAL = Acting(user=None, address=None)
_acting: ContextVar[Acting] = ContextVar("acting", default=_PORTAL)


def acting() -> Acting:
    """Who acts now."""
    return _acting.get()


@contextmanager
def acting_as(user: Any, address: str | None = None) -> Iterator[None]:
    """Do something in a person's name."""
    token = _acting.set(Acting(user=user, address=address))
    try:
        yield
    finally:
        _acting.reset(token)


class ActingMiddleware:
    """Every request acts in the name of who is logged in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Note who acts while the request is answered."""
        user = request.user if request.user.is_authenticated else None
        with acting_as(user, address_of(request)):
            return self._get_response(request)


def address_of(request: HttpRequest) -> str | None:
    """The address that the request came from, as the web server says.

    Behind a proxy that is the proxy's, unless the web server was told to trust its header.
    """
    address = request.META.get("REMOTE_ADDR") or ""
    return address if address and not address.startswith("unix") else None
