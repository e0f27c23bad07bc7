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
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.axe import WIDE, violations
from tests.browser.everything import furnish
from tests.browser.steady import route_of, settle, watched
from tests.upgrade.routes import NOT_CONFIGURED, POST_ONLY, addresses, routes

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FILES = {
    "dashboard:healthz",
    "dashboard:readyz",
    "datasets:examples",
    "datasets:problems_csv",
    "handover:download",
    "handover:file",
    "reviews:answer_text",
    "reviews:votes_jsonl",
    "runs:metrics",
    "runs:metrics_csv",
}
"""What is downloaded or read by a script."""
FRAGMENTS = {
    "blends:origin",
    "dashboard:blend_curve",
    "dashboard:run_outcome",
    "datasets:group",
    "evaluations:checkpoint_panel",
    "handover:panel",
    "jobs:progress",
    "learnability:panel",
    "mixtures:first",
    "promotions:checkpoint_panel",
    "promotions:reread_panel",
    "reviews:answers",
    "reviews:checkpoint_panel",
    "runs:batch_panel",
    "runs:checkpoint_panel",
    "runs:run_figures",
}
"""Parts of pages: each is looked at where a page shows it."""
NEEDS_PROVIDER = NOT_CONFIGURED - {"accounts:second_factor"}
"""Stations of signing in with a provider and a code, which `test_signing_in` goes through, and what
monitoring reads."""
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


def files(rooms: SimpleNamespace) -> Iterator[str]:
    """An address of each kind of file."""
    whole = {
        "handover:file": [rooms.little.pretrained.pk, "config.json"],
        "reviews:votes_jsonl": [rooms.third_check.pk],
    }
    for name, pattern in routes():
        if name in FILES:
            yield reverse(name, args=whole[name]) if name in whole else places(name, pattern)[0]
    yield reverse("handover:card", args=[rooms.ready.pk]) + "?as=text"
    yield reverse("promotions:ledger") + "?format=csv"


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
    yield from reviewed(rooms)
    yield from handed_over(rooms)


def reviewed(rooms: SimpleNamespace) -> Iterator[str]:
    """States of judging, of spot-checks, and of prompts that were tried."""
    yield reverse("reviews:reviews") + "?state=rejected"
    checks = (rooms.judging_check, rooms.third_check, rooms.undecided_check, rooms.closed_check)
    for check in checks:
        yield reverse("reviews:spot_check", args=[check.pk])
        yield reverse("reviews:mine", args=[check.pk])
        yield reverse("reviews:item", args=[check.pk, 1])
    judged, changed, held, waits = (
        reverse("reviews:item", args=[rooms.judging_check.pk, number]) for number in range(1, 5)
    )
    yield from (f"{judged}?change", changed, held)
    yield from (f"{waits}?show=written", f"{waits}?show=differences")
    never_checked = reverse("reviews:open", args=[rooms.exportable.pk])
    yield from (never_checked, f"{never_checked}?prompt_set=Pool&votes_an_item=2")
    for trial in rooms.trials.values():
        yield reverse("reviews:trial", args=[trial.pk])
    for checkpoint in (rooms.third_check.candidate, rooms.little.pretrained, rooms.ready):
        yield reverse("reviews:trials", args=[checkpoint.pk])


def handed_over(rooms: SimpleNamespace) -> Iterator[str]:
    """States of exports and of files, the ledger at a moment, and a model for few."""
    files_of = (rooms.whole, rooms.flipped, rooms.waits_to_be_read, rooms.restricted.pretrained)
    for checkpoint in (*rooms.exporting, rooms.exportable, *files_of):
        yield reverse("checkpoints:checkpoint", args=[checkpoint.pk])
    yield reverse("checkpoints:model_people", args=[rooms.restricted.pk])
    yield reverse("promotions:ledger") + f"?at={timezone.localtime():%Y-%m-%dT%H:%M}"
    yield reverse("promotions:ledger") + "?text=nothing+like+that"
    yield reverse("promotions:promotions") + f"?model={rooms.little.name}"
    yield reverse("jobs:jobs") + "?kind=reread"


def unblind(rooms: SimpleNamespace) -> Iterator[str]:
    """What is kept from who may still judge: who is at a check, and answers by name."""
    yield reverse("dashboard:home")
    yield reverse("reviews:reviews")
    for check in (rooms.open_check, rooms.judging_check, rooms.judged_check, rooms.preparing_check):
        yield reverse("reviews:spot_check", args=[check.pk])
    yield reverse("checkpoints:checkpoint", args=[rooms.open_check.candidate_id])
    yield reverse("reviews:trials", args=[rooms.ready.pk])


def skip_and_look(page: Page, rooms: SimpleNamespace, wrong: list[str]) -> None:
    """An item after another one was put off."""
    page.goto(reverse("reviews:item", args=[rooms.judging_check.pk, 4]))
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("link", name="1 skipped: return to it")).to_be_visible()
    settle(page)
    wrong += violations(page)


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
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.FTPORTAL_SECOND_FACTOR = "optional"
    rooms = furnish(cast, tiny_model_directory, tmp_path)
    context = context_for(rooms.walker, viewport=WIDE, color_scheme="light")
    wrong: list[str] = []
    offered: set[str] = set()
    page = watched(context.new_page(), wrong)
    for address in (*pages(), *more(rooms)):
        look(page, address, wrong, offered)
    skip_and_look(page, rooms, wrong)
    broken = [one for one in files(rooms) if not context.request.get(one).ok]
    with context_for(rooms.seer, viewport=WIDE, color_scheme="light") as other:
        page_of_seer = watched(other.new_page(), wrong)
        for address in unblind(rooms):
            look(page_of_seer, address, wrong, offered)

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
