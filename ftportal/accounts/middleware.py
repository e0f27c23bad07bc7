"""Sessions that end when nobody is there, are known by their browser, and leave no page behind."""

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_htmx.middleware import HtmxDetails

from ftportal.accounts.models import LoginSession, User
from ftportal.audit.acting import address_of

_SEEN_EVERY = timedelta(minutes=5)


class SessionMiddleware:
    """Keeps a session alive while somebody uses it: pages that ask by themselves do not count.

    Whatever a logged-in person sees is not stored by the browser or by a proxy.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Note that the person is there, and say that the page is not to be kept."""
        if not isinstance(request.user, User):
            return self._get_response(request)
        if request.method != "GET" or not HtmxDetails(request):
            _seen(request, request.user)
        response = self._get_response(request)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"
        return response


def _seen(request: HttpRequest, user: User) -> None:
    now = timezone.now()
    seen = request.session.get("seen", 0)
    if now.timestamp() - seen < _SEEN_EVERY.total_seconds():
        return
    request.session["seen"] = int(now.timestamp())  # saved, so it is good for the whole age again
    if request.session.session_key:
        LoginSession.objects.update_or_create(
            session_key=request.session.session_key,
            defaults={
                "user": user,
                "seen_at": now,
                "address": address_of(request),
                "browser": browser_words(request.headers.get("User-Agent", "")),
            },
        )


def session_go_on(request: HttpRequest, user: User) -> None:
    """Keep somebody logged in who has just changed the password; the session gets a new key."""
    before = request.session.session_key
    update_session_auth_hash(request, user)
    LoginSession.objects.filter(session_key=before).update(session_key=request.session.session_key)


def browser_words(agent: str) -> str:
    """A browser and its system as people call them, from what it says of itself."""
    browsers = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    )
    browser = next((name for sign, name in browsers if sign in agent), "")
    system = next((name for sign, name in systems if sign in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent[:60]
