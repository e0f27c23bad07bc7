"""What follows on logging in, and on failing to."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from ftportal.accounts.entering import WAY
from ftportal.accounts.middleware import browser_words
from ftportal.accounts.models import LoginSession, User
from ftportal.audit.acting import acting_as, address_of
from ftportal.audit.services import record


def on_logged_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Know the session by its browser."""
    address = address_of(request)
    if not request.session.session_key:
        request.session.save()
    LoginSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "address": address,
            "browser": browser_words(request.headers.get("User-Agent", "")),
        },
    )
    since = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    LoginSession.objects.filter(user=user, seen_at__lt=since).delete()
    with acting_as(user, address):
        record("person.logged_in", user, after=request.session.get(WAY) or {})


def on_logged_out(sender: Any, request: HttpRequest, **_: Any) -> None:
    """Forget the session."""
    LoginSession.objects.filter(session_key=request.session.session_key or "").delete()


def on_login_failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Write down who was tried, and from where; never with what."""
    name = str(credentials.get("username", ""))[:150]
    person = User.objects.filter(username=name).first()
    with acting_as(None, address_of(request) if request is not None else None):
        record("person.login_failed", person, after={} if person else {"name": name})
