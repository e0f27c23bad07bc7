"""Every page writes dates as the person who looks at it reads them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from ftportal.accounts.models import User
from ftportal.pages.dates import dates_as


class DatesMiddleware:
    """Language and time zone of who is logged in, for as long as a page is made."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        user = request.user
        if not isinstance(user, User):
            return self._get_response(request)
        with dates_as(user.date_style, user.time_zone):
            return self._get_response(request)
