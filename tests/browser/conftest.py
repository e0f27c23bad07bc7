"""A real Chromium that looks at a real server."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.ftportal.jobs.processes import BASE, wait_for

# Playwright's synchronous API runs an event loop in this thread, which Django would take for an
# asynchronous view and refuse to touch the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

DEFAULT_MS = 30_000  # two slow cores may be busy with the tests beside this one
expect.set_options(timeout=DEFAULT_MS)
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
        context.set_default_timeout(DEFAULT_MS)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What browsers wrote to their logs: errors and CSP violations. Tests end with it empty."""
    return []


def listen(page: Page, complaints: list[str]) -> Page:
    """Collect what the page's browser writes to its log as an error or a warning."""

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    return page


@pytest.fixture
def page_for(
    context_for: Callable[..., BrowserContext], complaints: list[str]
) -> Callable[..., Page]:
    """`page_for(user, **options)`: a page logged in as that user; its errors go to `complaints`."""

    def open_page(user: Any, **options: Any) -> Page:
        return listen(context_for(user, **options).new_page(), complaints)

    return open_page


class RunningPortal:
    """The whole portal under its manager, started on an empty folder without a demo."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.log = folder / "log"
        self.data = folder / "var"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FTPORTAL_")
        } | {
            "DJANGO_SETTINGS_MODULE": "ftportal.settings",
            "FTPORTAL_DATA": str(self.data),
            "FTPORTAL_DEMO": "false",
            "FTPORTAL_MODEL_ROOTS": str(model.parent),
            "FTPORTAL_SWEEP_SECONDS": "2",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ftportal.operations"],
                cwd=BASE,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.url = wait_for(self._address, seconds=90, why="the portal's address")

    def _address(self) -> str | None:
        assert self._process.poll() is None, self.log.read_text()
        words = self.log.read_text().partition("ftportal is ready: ")[2].split()
        return words[0] if words else None

    @property
    def first_link(self) -> str:
        """The link that the start printed for the first administrator."""
        return next(word for word in self.log.read_text().split() if "/welcome/" in word)

    def close(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)


@pytest.fixture
def portal(tmp_path: Path, tiny_model_directory: Path) -> Iterator[RunningPortal]:
    """A running portal of this test's own."""
    running = RunningPortal(tmp_path, tiny_model_directory)
    yield running
    running.close()


@pytest.fixture
def window(
    browser: Browser, portal: RunningPortal, complaints: list[str]
) -> Iterator[Callable[[], Page]]:
    """`window()`: a browser of its own that looks at `portal`, not logged in."""
    contexts: list[BrowserContext] = []

    def open_page() -> Page:
        context = browser.new_context(base_url=portal.url)
        context.set_default_timeout(DEFAULT_MS)
        contexts.append(context)
        return listen(context.new_page(), complaints)

    yield open_page
    for context in contexts:
        context.close()
