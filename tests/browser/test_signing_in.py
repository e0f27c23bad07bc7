"""Signing in with a provider and a second factor, in a browser: redirects under the strict CSP."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import listen
from tests.conftest import PASSWORD
from tests.ftportal.accounts.provider import CLIENT_ID, CLIENT_SECRET, provider_run
from tests.ftportal.accounts.test_second_factor import totp

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_person_connects_sets_up_an_app_and_signs_in_with_both(
    cast: SimpleNamespace,
    live_server: Any,
    browser: Browser,
    page_for: Callable[..., Page],
    complaints: list[str],
    settings: Any,
) -> None:
    with provider_run() as provider:
        settings.FTPORTAL_OIDC_ISSUER = provider.issuer
        settings.FTPORTAL_OIDC_NAME = "Example"
        settings.FTPORTAL_OIDC_CLIENT_ID = CLIENT_ID
        settings.FTPORTAL_OIDC_CLIENT_SECRET = CLIENT_SECRET
        settings.FTPORTAL_SECOND_FACTOR = "optional"
        provider.person = {"sub": "7", "email": "tina@example.org", "email_verified": True}
        page = page_for(cast.tina)
        page.goto("/account/")
        page.get_by_label("Your password here").fill(PASSWORD)
        page.get_by_role("button", name="Connect with Example").click()
        wrong = violations(page)
        page.get_by_role("link", name="Go on to Example").click()
        expect(page.get_by_text("From now on you can sign in with Example.")).to_be_visible()
        page.get_by_role("link", name="Set it up").click()
        image = page.get_by_alt_text("The key as a picture")
        assert image.evaluate("one => one.naturalWidth") > 100, "the CSP lets the picture through"
        wrong += violations(page)
        secret = page.locator("[data-secret]").inner_text().replace(" ", "")
        page.get_by_label("Code").fill(totp(secret))
        page.get_by_role("button", name="Set it up").click()
        expect(page.locator("[data-codes] li")).to_have_count(10)
        wrong += violations(page)
        context = browser.new_context(base_url=live_server.url)
        other = listen(context.new_page(), complaints)
        other.goto("/batches/")
        other.get_by_role("link", name="Sign in with Example").click()
        wrong += violations(other)
        other.get_by_label("Code").fill(totp(secret, steps=1))
        other.get_by_role("button", name="Log in").click()
        expect(other.get_by_role("heading", name="Batches", level=1)).to_be_visible()
        context.close()
    assert complaints == []
    assert "\n".join(wrong) == ""
