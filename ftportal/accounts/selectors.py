"""What pages read about people."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import Max, QuerySet
from django.utils import timezone

from ftportal.accounts.models import Link, LinkKind, LoginSession, User


def people(*, text: str = "", deactivated: bool = False) -> QuerySet[User]:
    """Everybody with a login, with `seen_at`; deactivated people only where they are asked for."""
    persons = User.objects.annotate(seen_at=Max("login_sessions__seen_at"))
    if not deactivated:
        persons = persons.filter(is_active=True)
    if text:
        persons = persons.filter(username__icontains=text) | persons.filter(
            first_name__icontains=text
        )
    return persons


def invitations_open() -> Sequence[Link]:
    """Invitations that nobody has used yet."""
    return list(
        Link.objects.filter(
            kind=LinkKind.INVITATION, used_at=None, expires_at__gt=timezone.now()
        ).select_related("created_by")
    )


def login_sessions(person: User) -> Sequence[LoginSession]:
    """Where a person is logged in, the last used first; not what has ended by itself."""
    since = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    return list(LoginSession.objects.filter(user=person, seen_at__gte=since))


def is_alone() -> bool:
    """Whether there is only one person, so that nobody could check another's work."""
    return User.objects.filter(is_active=True).count() <= 1
