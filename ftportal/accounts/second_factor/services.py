"""Setting up a second factor, asking for it, and taking it away."""

from collections.abc import Callable

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, validate_totp_code
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.accounts.second_factor.selectors import codes_left, factor_of
from ftportal.accounts.services import PersonError, sessions_end
from ftportal.audit.models import AuditEntry
from ftportal.audit.services import record

APP, RECOVERY = "app", "recovery code"
"""What a code came from, in words."""


def secret_make() -> str:
    """A new secret, as it may be kept while the person sets the app up."""
    encrypted: str = get_adapter().encrypt(generate_totp_secret())
    return encrypted


def second_factor_set(*, person: User, kept: str, code: str, keep: str | None) -> list[str]:
    """Set up the app with a kept secret; return the recovery codes. Other sessions end.

    Raises PersonError where the code is not the app's, or there is a second factor already.
    """
    secret = get_adapter().decrypt(kept)
    if not validate_totp_code(secret, code):
        raise PersonError(
            "That is not the code that the app shows now.",
            "Wait for the next one; if it never fits, the telephone's clock is wrong.",
            field="code",
        )
    return _set(person, secret, code, keep)


@transaction.atomic
def _set(person: User, secret: str, code: str, keep: str | None) -> list[str]:
    current = User.objects.select_for_update().get(pk=person.pk)
    if factor_of(current) is not None:
        raise PersonError("You have a second factor already.", "Remove it to set up another.")
    TOTP.activate(current, secret).validate_code(code)  # so that it is used up
    sessions_end(person=current, keep=keep)
    record("person.second_factor_set", current)
    return _codes_make(current)


def code_check(*, person: User, code: str) -> str:
    """Which second factor a code is of, `APP` or `RECOVERY`, which is used up by it.

    Raises PersonError for a wrong one, and after too many of them from wherever they came.
    """
    way = _limited(person, lambda: _way_of(person, code))
    if way is None:
        raise PersonError(
            "That code does not match.",
            "Write the one that the app shows now, or a recovery code that was not used yet.",
            field="code",
        )
    return way


def _way_of(person: User, code: str) -> str | None:
    app = factor_of(person)
    if app is not None and TOTP(app).validate_code(code):
        app.record_usage()
        return APP
    kept = Authenticator.objects.filter(user=person, type=Authenticator.Type.RECOVERY_CODES).first()
    if kept is not None and RecoveryCodes(kept).validate_code(code):
        record("person.recovery_code", person, after={"left": codes_left(person)}, actor=person)
        return RECOVERY
    return None


def _limited(person: User, check: Callable[[], str | None]) -> str | None:
    """What `check` says; a wrong code is written down, and after too many nothing is checked.

    Counted by person, from wherever they come: who is asked has shown a right password already, so
    that nobody else can shut a person out. The lock has tries at the same time wait for each other.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=person.pk)
        wrong = AuditEntry.objects.filter(
            action="person.code_wrong",
            target_kind=str(User._meta.verbose_name),
            target_key=str(person.pk),
            at__gte=timezone.now() - settings.AXES_COOLOFF_TIME,
        )
        if wrong.count() >= settings.AXES_FAILURE_LIMIT:
            minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
            raise PersonError(
                "Too many wrong codes.",
                f"Codes are looked at again in {minutes} minutes. If the tries were not yours, "
                "somebody knows your password: ask an administrator for a link to a new one.",
                field="code",
            )
        way = check()
        if way is None:
            record("person.code_wrong", person)
    return way


def second_factor_remove(*, person: User, code: str) -> None:
    """Remove one's own second factor, which a code of it allows."""
    code_check(person=person, code=code)
    with transaction.atomic():
        Authenticator.objects.filter(user=person).delete()
        record("person.second_factor_removed", person)


@transaction.atomic
def second_factor_reset(*, person: User) -> None:
    """Take away the second factor of somebody who lost it; every session ends."""
    if factor_of(person) is None:
        raise PersonError(f"{person} has no second factor.", "There is nothing to reset.")
    Authenticator.objects.filter(user=person).delete()
    sessions_end(person=person)
    record("person.second_factor_reset", person)


def recovery_codes_renew(*, person: User, code: str) -> list[str]:
    """New recovery codes in place of all earlier ones, which a code allows."""
    code_check(person=person, code=code)
    return _renew(person)


@transaction.atomic
def _renew(person: User) -> list[str]:
    Authenticator.objects.filter(user=person, type=Authenticator.Type.RECOVERY_CODES).delete()
    record("person.recovery_codes", person)
    return _codes_make(person)


def _codes_make(person: User) -> list[str]:
    codes: list[str] = RecoveryCodes.activate(person).generate_codes()
    return codes
