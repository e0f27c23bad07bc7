"""Every page of a portal with one of everything, in a real Chromium.

Nothing in the browser's log (a violation of the content security policy would stand there), no
failed request, no violation of axe-core's rules at 1280 and 390 pixels, light and dark. The pages
come from the URL configuration: a new route has to say in `tests.upgrade.routes.OBJECTS` what
fills it, and `tests.browser.everything` has to have one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import URLPattern, reverse
from playwright.sync_api import BrowserContext, Page

from tests.browser.axe import WIDE, violations
from tests.browser.everything import furnish
from tests.browser.steady import route_of, settle, watched
from tests.upgrade.routes import NOT_CONFIGURED, POST_ONLY, addresses, routes

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FILES = {
    "datasets:examples",
    "datasets:problems_csv",
    "runs:metrics",
    "runs:metrics_csv",
}
"""What is downloaded or read by a script."""
FRAGMENTS = {
    "blends:origin",
    "dashboard:blend_curve",
    "datasets:group",
    "evaluations:checkpoint_panel",
    "jobs:progress",
    "learnability:panel",
    "mixtures:first",
    "promotions:checkpoint_panel",
    "reviews:checkpoint_panel",
    "runs:batch_panel",
    "runs:checkpoint_panel",
    "runs:run_figures",
}
"""Parts of pages: each is looked at where a page shows it."""
NEEDS_PROVIDER = NOT_CONFIGURED - {"accounts:second_factor"}
"""Stations of signing in with a provider and a code: `test_signing_in` goes through them."""
TWO_OF = {
    "checkpoints:checkpoint",
    "evaluations:evaluation",
    "evaluations:report",
    "evaluations:verdict",
    "runs:run",
}
"""Of these the newest and the oldest is opened, of others the first; `more` has further states."""
_OFFERED = """() => [...document.querySelectorAll("[hx-get], [data-update-url]")]
    .map((one) => one.getAttribute("hx-get") ?? one.dataset.updateUrl)"""


def places(name: str, pattern: URLPattern) -> list[str]:
    """The addresses of a route that are worth a look."""
    every = list(addresses(name, pattern, may_be_missing=frozenset()))
    return every[:: len(every) - 1] if name in TWO_OF else every[:1]


def pages() -> Iterator[str]:
    """The addresses of all pages for which one has to be logged in."""
    without_login = {"accounts:login", "accounts:welcome"}
    elsewhere = POST_ONLY | FILES | FRAGMENTS | NEEDS_PROVIDER | without_login
    for name, pattern in routes():
        if name not in elsewhere:
            yield from places(name, pattern)


def files() -> Iterator[str]:
    """An address of each kind of file."""
    for name, pattern in routes():
        if name in FILES:
            yield places(name, pattern)[0]


def more(rooms: SimpleNamespace) -> Iterator[str]:
    """Further states of things, and what an address asks for beside its path."""
    kinds = ("talks", "agent", "repeats", "asking", "contaminated", "preference", "columns")
    for batch in (getattr(rooms, kind) for kind in (*kinds, "refused")):
        yield reverse("datasets:batch", args=[batch.pk])
    for run in rooms.runs.values():
        yield reverse("runs:run", args=[run.pk])
    for check in (rooms.open_check, rooms.judged_check, rooms.decided_check):
        yield reverse("reviews:spot_check", args=[check.pk])
    yield reverse("reviews:vote", args=[rooms.open_check.pk])
    yield reverse("learnability:decisions", args=[rooms.talks.pk])
    yield reverse("blends:blends", args=[rooms.reckless.output_id])
    yield reverse("checkpoints:checkpoint", args=[rooms.blend.result_id])
    careful, reckless = rooms.careful.pk, rooms.reckless.pk
    yield reverse("dashboard:compare") + f"?run={careful}&run={reckless}"
    yield reverse("runs:run_new") + f"?run={reckless}"
    yield reverse("runs:run_new") + f"?mixture={rooms.mixture.pk}"
    yield reverse("datasets:batch_new") + f"?mends={rooms.refused.pk}"
    for name in ("batches", "runs", "checkpoints", "jobs", "people", "mixtures"):
        yield f"/{name}/?text=nothing+like+that"
    yield reverse("reviews:reviews") + "?state=rejected"


def look(page: Page, address: str, wrong: list[str], offered: set[str]) -> None:
    """Open a page and all that is folded on it, and note what is wrong with it."""
    page.goto(address)
    settle(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    settle(page)
    offered |= {route_of(one) for one in page.evaluate(_OFFERED)}
    wrong += violations(page)


def test_every_page_is_clean(
    context_for: Callable[..., BrowserContext],
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    settings: Any,
) -> None:
    settings.FTPORTAL_SECOND_FACTOR = "optional"
    rooms = furnish(cast, tiny_model_directory)
    context = context_for(rooms.walker, viewport=WIDE, color_scheme="light")
    wrong: list[str] = []
    offered: set[str] = set()
    page = watched(context.new_page(), wrong)
    for address in (*pages(), *more(rooms)):
        look(page, address, wrong, offered)
    broken = [one for one in files() if not context.request.get(one).ok]

    # Polls of a live page: its figures, its job and its curves.
    polled: set[str] = set()
    page.on("response", lambda one: polled.add(route_of(one.url)))
    page.goto(reverse("runs:run", args=[rooms.runs["Goes on"].pk]))
    while not polled >= {"runs:run_figures", "jobs:progress", "runs:metrics"}:
        page.wait_for_event("response")

    # Without a login.
    context.clear_cookies()
    links = [reverse("accounts:welcome", args=[one]) for one in (rooms.invitation, rooms.reset)]
    for address in (reverse("accounts:login"), *links):
        look(page, address, wrong, offered)
    assert "\n".join(wrong) == ""
    assert broken == []
    unseen = FRAGMENTS - offered
    assert unseen == set(), f"no page shows {unseen}"
