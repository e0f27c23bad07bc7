"""The provider, and whose accounts there are known."""

from allauth.socialaccount.models import SocialAccount
from django.conf import settings

from ftportal.accounts.models import User


def is_on() -> bool:
    """Whether a provider is configured."""
    return bool(settings.FTPORTAL_OIDC_ISSUER)


def provider_name() -> str:
    """What people call the provider; empty where none is configured."""
    return settings.FTPORTAL_OIDC_NAME if is_on() else ""


def account_of(person: User) -> SocialAccount | None:
    """The account with the provider that a person signs in with.

    Bound to the issuer: accounts with a provider that was configured before are not this one's.
    """
    return SocialAccount.objects.filter(user=person, provider=settings.FTPORTAL_OIDC_ISSUER).first()
