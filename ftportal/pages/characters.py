"""A character that no database keeps as text is refused at the door."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

NUL = "\0"


class NulMiddleware:
    """Answers an address or a form with a NUL with 400, before any page looks something up by it.

    PostgreSQL refuses such a text with an error, and SQLite keeps it: neither is an answer. Nobody
    types one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, arguments: Any, names: Any
    ) -> HttpResponse | None:
        """Refuse a NUL; the form is read by now, for its CSRF token."""
        texts = [request.path_info]
        for sent in (request.GET, request.POST):
            for name, values in sent.lists():
                texts += [name, *map(str, values)]
        if any(NUL in text for text in texts):
            return render(request, "400.html", status=400)
        return None
