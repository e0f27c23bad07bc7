"""A real Chromium that looks at a real server."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

# Playwright's synchronous API runs an event loop in this thread, which Django would take for an
# asynchronous view and refuse to touch the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, or Playwright's own where there is none."""
    system = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=system, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def context_for(browser: Browser, live_server: Any) -> Iterator[Callable[..., BrowserContext]]:
    """`context_for(user, **options)`: a browser window of its own, logged in as that user."""
    from django.conf import settings
    from django.test import Client

    contexts: list[BrowserContext] = []

    def open_context(user: Any, **options: Any) -> BrowserContext:
        client = Client()
        client.force_login(user)
        context = browser.new_context(base_url=live_server.url, **options)
        context.add_cookies(
            [
                {
                    "name": settings.SESSION_COOKIE_NAME,
                    "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
                    "url": live_server.url,
                }
            ]
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What browsers wrote to their logs: errors and CSP violations. Tests end with it empty."""
    return []


@pytest.fixture
def page_for(
    context_for: Callable[..., BrowserContext], complaints: list[str]
) -> Callable[..., Page]:
    """`page_for(user, **options)`: a page logged in as that user; its errors go to `complaints`."""

    def open_page(user: Any, **options: Any) -> Page:
        page = context_for(user, **options).new_page()
        page.on(
            "console",
            lambda message: (
                complaints.append(f"{page.url}: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        return page

    return open_page
