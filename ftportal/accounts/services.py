"""Changes to people: links that let them in, roles, passwords, sessions."""

import hashlib
import secrets
from collections.abc import Collection, Sequence

from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.utils import timezone

from engine.errors import ProblemError
from ftportal.accounts.models import (
    FIELD_OF,
    LINK_LIFETIME,
    Link,
    LinkKind,
    LoginSession,
    Role,
    User,
)
from ftportal.audit.services import difference, record
from ftportal.pages.dates import styles, zones

_USERNAME = RegexValidator(r"\A[a-z0-9][a-z0-9._-]{0,39}\Z")


class PersonError(ProblemError):
    """A change to a person or a link cannot be made; `field` is what was typed wrong, if any."""

    def __init__(self, message: str, cure: str, field: str | None = None) -> None:
        super().__init__(message, cure)
        self.field = field


def token_hash(token: str) -> str:
    """What of a link's token the database keeps."""
    return hashlib.sha256(token.encode()).hexdigest()


def _link_make(kind: LinkKind, **fields: object) -> str:
    """Make a link and return its token, which is kept nowhere."""
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + LINK_LIFETIME[kind]
    Link.objects.create(kind=kind, token_hash=token_hash(token), expires_at=expires_at, **fields)
    return token


@transaction.atomic
def first_administrator_link() -> str | None:
    """The token of a link that makes the first administrator; None once there is one.

    Each start makes a new one, and the one before is good for nothing any more.
    """
    if User.objects.filter(is_superuser=True, is_active=True).exists():
        Link.objects.filter(kind=LinkKind.FIRST).delete()
        return None
    Link.objects.filter(kind=LinkKind.FIRST).delete()
    return _link_make(LinkKind.FIRST, roles=[Role.ADMINISTRATOR])


@transaction.atomic
def person_invite(
    *, invited_by: User, display_name: str, roles: Collection[str], email: str = ""
) -> str:
    """Make a link by which somebody joins with these roles; return its token."""
    if not display_name.strip():
        raise PersonError("The invitation names nobody.", "Write who it is for.")
    wanted = _roles_checked(roles)
    token = _link_make(
        LinkKind.INVITATION,
        display_name=display_name.strip()[:150],
        email=email,
        roles=wanted,
        created_by=invited_by,
    )
    link = Link.objects.get(token_hash=token_hash(token))
    record("person.invited", link, after={"roles": wanted, "email": email})
    return token


@transaction.atomic
def reset_link_make(*, person: User, made_by: User) -> str:
    """Make a link by which a person chooses a new password; earlier ones stop working."""
    if not person.is_active:
        raise PersonError(f"{person} may not log in.", "Let the person back in first.")
    Link.objects.filter(kind=LinkKind.RESET, person=person, used_at=None).delete()
    token = _link_make(LinkKind.RESET, person=person, display_name=str(person), created_by=made_by)
    record("person.reset_asked", person)
    return token


def link_of(token: str) -> Link:
    """The open link of a token. Raises PersonError for one that is used, old or none."""
    link = Link.objects.filter(token_hash=token_hash(token)).select_related("person").first()
    if link is None:
        raise PersonError("This link is not one of ours.", "Ask an administrator for a new one.")
    if link.used_at is not None:
        raise PersonError("This link was used already.", "Log in, or ask for a new one.")
    if not link.is_open:
        raise PersonError("This link is too old.", "Ask an administrator for a new one.")
    return link


@transaction.atomic
def link_join(
    *, token: str, username: str, display_name: str, password: str, email: str = ""
) -> User:
    """Become a person by an invitation, or the first administrator. Raises PersonError."""
    link = _locked(token, LinkKind.FIRST, LinkKind.INVITATION)
    person = User(
        username=_username_checked(username),
        first_name=display_name.strip()[:150],
        email=email or link.email,
    )
    _password_set(person, password)
    return person_join(person=person, link=link)


@transaction.atomic
def person_join(*, person: User, link: Link | None) -> User:
    """Keep a new person, with the roles of a locked link, or with none. Raises PersonError."""
    for role in link.roles if link is not None else ():
        setattr(person, FIELD_OF[Role(role)], True)
    try:
        with transaction.atomic():
            person.save()
    except IntegrityError:
        message = f"Somebody is called {person.username} already."
        cure = "Choose another name for the login."
        raise PersonError(message, cure, field="username") from None
    if link is not None:
        _used(link, person)
    record("person.joined", person, after={"roles": person.roles}, actor=person)
    return person


@transaction.atomic
def link_reset(*, token: str, password: str) -> User:
    """Choose a new password by a link; every session of the person ends. Raises PersonError."""
    link = _locked(token, LinkKind.RESET)
    person = link.person
    if person is None or not person.is_active:
        raise PersonError("The person of this link may not log in.", "Ask an administrator.")
    _password_set(person, password)
    person.save(update_fields=["password"])
    _used(link, person)
    _sessions_drop(person)
    record("person.password", person, actor=person)
    return person


def _locked(token: str, *kinds: LinkKind) -> Link:
    link_of(token)
    link = Link.objects.select_for_update().get(token_hash=token_hash(token))
    if not link.is_open or link.kind not in kinds:
        raise PersonError("This link was used already.", "Log in, or ask for a new one.")
    return link


def _used(link: Link, person: User) -> None:
    link.used_at, link.person = timezone.now(), person
    link.save(update_fields=["used_at", "person"])


@transaction.atomic
def link_withdraw(*, link: Link) -> None:
    """Make an invitation good for nothing."""
    record("person.invited", link, before={"roles": link.roles}, reason="taken back")
    link.delete()


@transaction.atomic
def roles_set(*, person: User, roles: Collection[str]) -> None:
    """Give a person these roles and no others. Raises PersonError for the last administrator."""
    wanted = _roles_checked(roles)
    current = _person_locked(person)
    before = current.roles
    if Role.ADMINISTRATOR not in wanted:
        _last_administrator_check(current)
    for role, field in FIELD_OF.items():
        setattr(current, field, role in wanted)
    current.save(update_fields=list(FIELD_OF.values()))
    if before != current.roles:
        record("person.roles", current, before={"roles": before}, after={"roles": current.roles})


@transaction.atomic
def person_deactivate(*, person: User) -> None:
    """Keep a person out: no login, and every session ends. What the person did stays."""
    current = _person_locked(person)
    _last_administrator_check(current)
    if current.is_active:
        current.is_active = False
        current.save(update_fields=["is_active"])
        record("person.deactivated", current)
    _sessions_drop(current)


@transaction.atomic
def person_reactivate(*, person: User) -> None:
    """Let a person back in, with the roles of before."""
    current = _person_locked(person)
    if not current.is_active:
        current.is_active = True
        current.save(update_fields=["is_active"])
        record("person.reactivated", current, after={"roles": current.roles})


@transaction.atomic
def sessions_end(*, person: User, keep: str | None = None, only: int | None = None) -> int:
    """End a person's sessions but the one with the key `keep`, or `only` one; return how many."""
    count = _sessions_drop(person, keep=keep, only=only)
    if count:
        record("person.sessions_ended", person, after={"sessions": count})
    return count


@transaction.atomic
def profile_set(*, person: User, display_name: str, email: str) -> None:
    """Change what a person is called, and where mail reaches them."""
    if not display_name.strip():
        raise PersonError("The name is empty.", "Write how others should see you.")
    current = _person_locked(person)
    before = {"name": str(current), "email": current.email}
    current.first_name, current.last_name = display_name.strip()[:150], ""
    current.email = email
    current.save(update_fields=["first_name", "last_name", "email"])
    after = {"name": str(current), "email": current.email}
    old, new = difference(before, after)
    if new:
        record("person.renamed", current, before=old, after=new)


@transaction.atomic
def dates_set(*, person: User, date_style: str, time_zone: str) -> None:
    """Change how a person reads dates, and in which time zone. Raises PersonError."""
    if date_style not in styles():
        raise PersonError(f"{date_style!r} is not a way of writing dates.", "Choose from the list.")
    if time_zone not in zones():
        message = f"There is no time zone {time_zone!r}."
        cure = "Choose one from the list, such as Europe/Berlin."
        raise PersonError(message, cure, field="time_zone")
    current = _person_locked(person)
    before = {"date_style": current.date_style, "time_zone": current.time_zone}
    current.date_style, current.time_zone = date_style, time_zone
    current.save(update_fields=["date_style", "time_zone"])
    old, new = difference(before, {"date_style": date_style, "time_zone": time_zone})
    if new:
        record("person.dates", current, before=old, after=new)


@transaction.atomic
def password_change(*, person: User, password: str, keep: str | None) -> None:
    """Choose a new password; sessions but the one with the key `keep` end."""
    _password_set(person, password)
    person.save(update_fields=["password"])
    _sessions_drop(person, keep=keep)
    record("person.password", person)


def _person_locked(person: User) -> User:
    return User.objects.select_for_update().get(pk=person.pk)


def _last_administrator_check(person: User) -> None:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=person.pk)
    if person.is_superuser and person.is_active and not others.exists():
        raise PersonError(f"{person} is the last administrator.", "Make somebody else one first.")


def _roles_checked(roles: Collection[str]) -> list[str]:
    unknown = sorted(set(roles) - set(Role.values))
    if unknown:
        raise PersonError(f"{unknown[0]!r} is not a role.", f"Use {', '.join(Role.values)}.")
    return [str(role) for role in Role.values if role in roles]


def _username_checked(username: str) -> str:
    name = username.strip().lower()
    try:
        _USERNAME(name)
    except ValidationError:
        raise PersonError(
            "The login name can have small letters, digits, dots, dashes and underscores.",
            "Use at most 40 of them, and begin with a letter or digit.",
            field="username",
        ) from None
    return name


def _password_set(person: User, password: str) -> None:
    try:
        validate_password(password, person)
    except ValidationError as error:
        cure = "Choose a longer, rarer one."
        raise PersonError(" ".join(error.messages), cure, field="password") from None
    person.set_password(password)


def _sessions_drop(person: User, *, keep: str | None = None, only: int | None = None) -> int:
    sessions: Sequence[LoginSession] = list(LoginSession.objects.filter(user=person))
    dropped = [
        one for one in sessions if one.session_key != keep and (only is None or one.pk == only)
    ]
    for one in dropped:
        SessionStore(session_key=one.session_key).delete()
        one.delete()
    return len(dropped)


def sessions_forget() -> int:
    """Delete the sessions that have ended, and what was noted of their browsers; return how many.

    Whoever closes a browser does not log out: without this their rows would stay.
    """
    ended = Session.objects.filter(expire_date__lt=timezone.now())
    count, _ = ended.delete()
    LoginSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    return count
