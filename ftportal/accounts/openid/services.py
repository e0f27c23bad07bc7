"""Whose account with the provider is whose: known, invited, connected by hand, or a newcomer."""

import re

from allauth.socialaccount.models import SocialAccount
from django.db import IntegrityError, transaction
from django.utils import timezone

from ftportal.accounts.models import Link, LinkKind, User
from ftportal.accounts.openid.protocol import Identity
from ftportal.accounts.openid.selectors import account_of, provider_name
from ftportal.accounts.services import PersonError, person_join
from ftportal.audit.services import record


@transaction.atomic
def identity_person(*, identity: Identity, newcomers: bool) -> User:
    """Who an identity is here. Raises PersonError for one who may not come in.

    Known by issuer and subject alone, for those never go to somebody else. An e-mail address that
    the provider has verified opens the invitation that an administrator wrote for it, and nothing
    else: the addresses of people who are here already are what they wrote themselves.
    """
    account = _account(identity)
    if account is not None:
        if not account.user.is_active:
            raise PersonError("You may not log in any more.", "Ask an administrator.")
        return account.user
    link = _invitation(identity)
    if link is None:
        _newcomer_check(identity, newcomers)
    person = User(
        username=_username_free(identity) if link is not None else _username(identity),
        first_name=(identity.name or (link.display_name if link is not None else ""))[:150],
        email=identity.email if identity.is_email_verified else "",
    )
    person.set_unusable_password()
    person_join(person=person, link=link)
    _connect(person, identity)
    return person


def _account(identity: Identity) -> SocialAccount | None:
    return (
        SocialAccount.objects.filter(provider=identity.issuer, uid=identity.subject)
        .select_related("user")
        .first()
    )


def _invitation(identity: Identity) -> Link | None:
    """The newest open invitation to the address, if the provider vouches for it."""
    if not identity.is_email_verified:
        return None
    return (
        Link.objects.select_for_update()
        .filter(
            kind=LinkKind.INVITATION,
            email__iexact=identity.email,
            used_at=None,
            expires_at__gt=timezone.now(),
        )
        .first()
    )


def _newcomer_check(identity: Identity, newcomers: bool) -> None:
    """Somebody who is here already, or was kept out, does not come in again as another person."""
    connect = "If you have a login here, log in with its password and connect on Your account. "
    ask = f"Otherwise ask an administrator to invite {identity.email or 'you by e-mail address'}."
    if not newcomers:
        raise PersonError("Nobody here is known by this account.", connect + ask)
    same_email = bool(identity.email) and User.objects.filter(email__iexact=identity.email).exists()
    if same_email or User.objects.filter(username=_username(identity)).exists():
        raise PersonError("Somebody here has this name or this address already.", connect + ask)


def _username(identity: Identity) -> str:
    """A name to log in with, from the provider's; `ftportal.accounts.services` has the pattern."""
    wanted = (identity.username or identity.email).partition("@")[0].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", wanted).strip("._-")[:40] or "person"


def _username_free(identity: Identity) -> str:
    wanted = _username(identity)
    taken = set(User.objects.filter(username__startswith=wanted[:36]).values_list("username"))
    names = (f"{wanted[:36]}{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (wanted, *names) if (name,) not in taken)


@transaction.atomic
def identity_connect(*, person: User, identity: Identity) -> None:
    """Let a person sign in with an account of the provider from now on. Raises PersonError."""
    account = _account(identity)
    if account is not None and account.user_id == person.pk:
        return
    if account is not None:
        raise PersonError(
            f"{identity.label} is connected with another person here.",
            "Choose another account, or ask an administrator.",
        )
    if account_of(person) is not None:
        raise PersonError("You are connected with another account.", "Disconnect it first.")
    _connect(person, identity)


def _connect(person: User, identity: Identity) -> None:
    try:
        with transaction.atomic():
            SocialAccount.objects.create(
                user=person,
                provider=identity.issuer,
                uid=identity.subject,
                extra_data={"label": identity.label},  # neither tokens nor claims
            )
    except IntegrityError:
        raise PersonError("This account has just been connected.", "Sign in again.") from None
    after = {"with": provider_name(), "account": identity.label}
    record("person.connected", person, after=after, actor=person)


@transaction.atomic
def identity_disconnect(*, person: User, by_person: bool) -> None:
    """Forget a person's account with the provider. Raises PersonError.

    by_person: whether the person asks, who needs another way to log in then.
    """
    account = account_of(person)
    if account is None:
        raise PersonError("No account is connected.", "There is nothing to disconnect.")
    if by_person and not person.has_usable_password():
        raise PersonError(
            "You have no password here, and could not log in any more.",
            "Ask an administrator for a link by which you choose one.",
        )
    before = {"with": provider_name(), "account": account.extra_data.get("label", account.uid)}
    account.delete()
    record("person.disconnected", person, before=before)


@transaction.atomic
def entry_refused(*, identity: Identity | None, reason: str) -> None:
    """Write down that somebody came back from the provider and was not let in."""
    account = _account(identity) if identity is not None else None
    after = {"with": provider_name()}
    if identity is not None:
        after["account"] = identity.label
    person = account.user if account is not None else None
    record("person.login_failed", person, after=after, reason=reason)
