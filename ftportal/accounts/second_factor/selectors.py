"""Who has a second factor, and who is asked for it."""

import base64
from dataclasses import dataclass

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.conf import settings

from ftportal.accounts.models import User


def is_on() -> bool:
    """Whether second factors are configured; where not, nobody is asked for one."""
    return settings.FTPORTAL_SECOND_FACTOR != "off"


def is_required() -> bool:
    """Whether everybody must have one."""
    return settings.FTPORTAL_SECOND_FACTOR == "required"


def factor_of(person: User) -> Authenticator | None:
    """The app that a person has set up."""
    return Authenticator.objects.filter(user=person, type=Authenticator.Type.TOTP).first()


def factor_asked(person: User) -> Authenticator | None:
    """The app that a person is asked for at the log-in."""
    return factor_of(person) if is_on() else None


def codes_left(person: User) -> int:
    """How many recovery codes are not used up."""
    kept = Authenticator.objects.filter(user=person, type=Authenticator.Type.RECOVERY_CODES).first()
    return len(RecoveryCodes(kept).get_unused_codes()) if kept is not None else 0


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """What an app is set up with."""

    words: str
    """The secret as people type it: in fours."""
    picture: str
    """The same for an app's camera: a QR code, as an address of an SVG image."""


def set_up_of(person: User, kept: str) -> SetUp:
    """How to set up an app with a secret that `secret_make` made."""
    adapter = get_adapter()
    secret: str = adapter.decrypt(kept)
    svg: str = adapter.build_totp_svg(adapter.build_totp_url(person, secret))
    return SetUp(
        words=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        picture=f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}",
    )
