"""What the tests of people share: an OpenID provider."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ftportal.accounts.provider import CLIENT_ID, CLIENT_SECRET, Provider, provider_run


@pytest.fixture(scope="session")
def provider_running() -> Iterator[Provider]:
    """One provider for all tests: its key takes a moment to make."""
    with provider_run() as running:
        yield running


@pytest.fixture
def provider(provider_running: Provider, settings: Any) -> Provider:
    """The provider that the portal is configured with, where Nora is logged in."""
    settings.FTPORTAL_OIDC_ISSUER = provider_running.issuer
    settings.FTPORTAL_OIDC_NAME = "Example"
    settings.FTPORTAL_OIDC_CLIENT_ID = CLIENT_ID
    settings.FTPORTAL_OIDC_CLIENT_SECRET = CLIENT_SECRET
    provider_running.person = {
        "sub": "248289761001",
        "email": "nora@example.org",
        "email_verified": True,
        "name": "Nora N.",
        "preferred_username": "Nora",
    }
    provider_running.userinfo = {}
    provider_running.changes = {}
    provider_running.discovery = {}
    provider_running.codes = {}
    provider_running.requests = []
    provider_running.signs_with, provider_running.algorithm = provider_running.key, "RS256"
    from django.core.cache import cache

    cache.clear()
    return provider_running
