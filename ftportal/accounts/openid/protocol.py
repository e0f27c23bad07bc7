"""OpenID Connect by allauth, and the checks that allauth leaves out.

allauth keeps state and PKCE, finds the provider's addresses and redeems the code. It trusts the
connection in place of the signature, sends no nonce, and takes a token without an end; here the ID
token is checked in full (OpenID Connect Core 1.0, section 3.1.3.7).
"""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from engine.errors import ProblemError

_log = logging.getLogger(__name__)
_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Those with a public key. With HS256 the provider's public keys would be good for forging."""
_CLOCKS_DIFFER_SECONDS = 60
_CONFIG_SECONDS = 300
_CLAIMS = ("iss", "sub", "aud", "exp", "iat")
_SUBJECT_LIMIT = 191  # of allauth's table


class SignInError(ProblemError):
    """Signing in with the provider came to nothing.

    `detail` is for the audit log; `is_ours` whether this portal had sent the person there.
    """

    def __init__(self, message: str, cure: str, *, detail: str = "", is_ours: bool = True) -> None:
        super().__init__(message, cure)
        self.detail = detail
        self.is_ours = is_ours


class _UntrustedError(Exception):
    """What the provider sent is not to be trusted. The words are ours or PyJWT's: no secrets."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who somebody is, as the provider says."""

    issuer: str
    subject: str
    """The only name there that never goes to somebody else."""
    email: str
    is_email_verified: bool
    username: str
    name: str

    @property
    def label(self) -> str:
        """What people know the account by."""
        return self.email or self.username or self.subject


class _Adapter(OpenIDConnectOAuth2Adapter):
    """allauth's, with our address for the way back and a discovery that is checked."""

    @property
    def openid_config(self) -> dict[str, Any]:
        """What the provider says of itself, asked for at most every five minutes."""
        key = f"openid:{self.provider_id}"
        config: dict[str, Any] | None = cache.get(key)
        if config is None:
            config = dict(super().openid_config)
            if str(config["issuer"]).rstrip("/") != self.provider_id:
                raise _UntrustedError("discovery is of another issuer")
            cache.set(key, config, _CONFIG_SECONDS)
        return config

    def get_provider(self) -> OpenIDConnectProvider:
        """The one of the settings."""
        return provider_of(self.request)

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Where the provider sends people back to."""
        return request.build_absolute_uri(reverse("accounts:openid_callback"))


class _Provider(OpenIDConnectProvider):
    oauth2_adapter_class = _Adapter
    pkce_enabled_default = True


def provider_of(request: HttpRequest) -> OpenIDConnectProvider:
    """The provider of the settings. No row of the database can add or change one."""
    issuer = settings.FTPORTAL_OIDC_ISSUER
    app = SocialApp(
        provider=_Provider.id,
        provider_id=issuer,
        name=settings.FTPORTAL_OIDC_NAME,
        client_id=settings.FTPORTAL_OIDC_CLIENT_ID,
        secret=settings.FTPORTAL_OIDC_CLIENT_SECRET,
        settings={"server_url": issuer},
    )
    return _Provider(request, app=app)


_BROKEN = (
    *(_UntrustedError, OAuth2Error, requests.RequestException),
    *(KeyError, TypeError, ValueError, AttributeError),
)
"""What allauth, and code that reads what a provider sent, raises for what it cannot use."""


def begin(request: HttpRequest, **state: Any) -> HttpResponse:
    """Send somebody to the provider; `state` is there again when they come back.

    Raises SignInError where the provider does not answer.
    """
    nonce = secrets.token_urlsafe(24)
    try:
        return provider_of(request).redirect(
            request, "login", None, state, auth_params={"nonce": nonce}, nonce=nonce
        )
    except _BROKEN as error:
        raise _broken(error, "does not answer as it should") from error


def finish(request: HttpRequest) -> tuple[Identity, dict[str, Any]]:
    """Who came back from the provider, and the state of `begin`. Raises SignInError."""
    provider, name = provider_of(request), settings.FTPORTAL_OIDC_NAME
    try:
        state = provider.unstash_redirect_state(request, request.GET.get("state", ""))
    except PermissionDenied:
        raise SignInError(
            "This was not begun in this browser, or more than ten minutes ago.",
            "Begin again on the log-in page.",
            is_ours=False,
        ) from None
    if "code" not in request.GET:
        said = request.GET.get("error", "no code")[:100]
        raise SignInError(f"{name} did not sign you in.", "Try again.", detail=said)
    try:
        adapter = provider.get_oauth2_adapter(request)
        client = adapter.get_client(request, provider.app)
        answer = adapter.get_access_token_data(
            request, provider.app, client, pkce_code_verifier=state["pkce_code_verifier"]
        )
        return _identity(adapter, answer, state["nonce"]), state["data"]
    except _BROKEN as error:
        raise _broken(error, "said something that cannot be trusted") from error


def _broken(error: Exception, words: str) -> SignInError:
    """Errors of allauth may quote what the provider sent: of those only the kind is told."""
    detail = str(error) if isinstance(error, _UntrustedError) else type(error).__name__
    _log.warning("%s %s: %s", settings.FTPORTAL_OIDC_ISSUER, words, detail)
    return SignInError(
        f"{settings.FTPORTAL_OIDC_NAME} {words}.",
        "Try again; if that does not help, tell an administrator, who finds more in the log.",
        detail=detail,
    )


def _identity(adapter: _Adapter, answer: Mapping[str, Any], nonce: str) -> Identity:
    claims = _claims(adapter, answer["id_token"], nonce)
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LIMIT:
        raise _UntrustedError("the subject is empty or too long")
    said = claims if "email" in claims else _userinfo(adapter, answer["access_token"], subject)
    email, vouched = _email(said.get("email")), said.get("email_verified")
    return Identity(
        issuer=adapter.provider_id,
        subject=subject,
        email=email,
        # Some say it in a string. Nothing else counts as yes, least of all silence.
        is_email_verified=bool(email) and (vouched is True or vouched == "true"),
        username=_text(said.get("preferred_username") or claims.get("preferred_username")),
        name=_text(said.get("name") or claims.get("name")),
    )


def _text(value: Any) -> str:
    return value.strip()[:150] if isinstance(value, str) else ""


def _email(value: Any) -> str:
    text = _text(value).lower()
    try:
        validate_email(text)
    except ValidationError:
        return ""
    return text


def _claims(adapter: _Adapter, token: str, nonce: str) -> dict[str, Any]:
    """What a checked ID token says."""
    import jwt  # with cryptography 8 MB, which most processes never need

    config, client_id = adapter.openid_config, settings.FTPORTAL_OIDC_CLIENT_ID
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        keys = jwt.PyJWKSet.from_dict(_json(config["jwks_uri"])).keys
        fitting = [key for key in keys if key.public_key_use != "enc" and kid in (None, key.key_id)]
        if len(fitting) != 1:
            raise _UntrustedError("the token names no key of the provider's")
        claims: dict[str, Any] = jwt.decode(
            token,
            fitting[0].key,
            algorithms=list(_ALGORITHMS),
            audience=client_id,
            issuer=config["issuer"],
            leeway=_CLOCKS_DIFFER_SECONDS,
            options={"require": list(_CLAIMS)},
        )
    except jwt.PyJWTError as error:
        raise _UntrustedError(f"ID token: {error}") from error
    if not constant_time_compare(str(claims.get("nonce", "")), nonce):
        raise _UntrustedError("the nonce is not the one that was sent")
    is_for_several = not isinstance(claims["aud"], str) and len(claims["aud"]) > 1
    if claims.get("azp", "" if is_for_several else client_id) != client_id:
        raise _UntrustedError("the token was made for another party")
    return claims


def _userinfo(adapter: _Adapter, access_token: str, subject: str) -> dict[str, Any]:
    """What the provider tells beside the ID token; nothing where it has no such address."""
    address = adapter.openid_config.get("userinfo_endpoint")
    if not address:
        return {}
    said = _json(address, {"Authorization": f"Bearer {access_token}"})
    if said.get("sub") != subject:
        raise _UntrustedError("userinfo is about somebody else")
    return said


def _json(address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    with get_adapter().get_requests_session() as session:
        answer = session.get(address, headers=headers)
        answer.raise_for_status()
        return dict(answer.json())
