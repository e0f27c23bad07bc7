"""The portal's whole way in one go: from an empty folder through a team of four to a rollback.

Real Chromium, real Redis, a real Celery worker, real engines; the model is tiny and random.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ftportal.operations.places import wide_paths
from tests.browser.conftest import RunningPortal
from tests.browser.keys import press

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECRET = "a rather long secret"
ENGINE_MS = 120_000  # an engine may wait for the ones before it on two slow cores


def example_lines(count: int) -> str:
    """`count` chat examples, one a line."""
    return "".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"What follows {number}?"},
                    {"role": "assistant", "content": f"After {number} comes {number + 1}."},
                ]
            }
        )
        + "\n"
        for number in range(count)
    )


def join(page: Page, link: str, name: str) -> Page:
    """Follow a one-time link and become a person."""
    page.goto(link)
    page.get_by_label("Your name").fill(name.capitalize())
    page.get_by_label("Name to log in with").fill(name)
    page.get_by_label("Password", exact=True).fill(SECRET)
    page.get_by_label("The password again").fill(SECRET)
    page.get_by_role("button", name="Join").click()
    expect(page.locator("h1")).to_have_text("Home")
    return page


def invited(page: Page, name: str, role: str) -> str:
    """Have the administrator invite somebody; the link to hand over."""
    page.goto("/people/")
    page.get_by_label("Name", exact=True).last.fill(name.capitalize())
    for other in ("Trainer", "Reviewer", "Releaser"):
        page.get_by_label(other, exact=False).set_checked(other == role)
    page.get_by_role("button", name="Make the link").click()
    return page.locator("[data-link]").inner_text()


def team(window: Callable[[], Page], first_link: str, model: Path) -> list[Page]:
    """From nothing to a model and three people, without a shell: the windows of the three."""
    ada = join(window(), first_link, "ada")
    expect(ada.locator("#first-steps")).to_contain_text("Register a language model")
    ada.get_by_role("link", name="Register a language model").click()
    ada.get_by_label("Name", exact=False).first.fill("Tiny")
    ada.get_by_label("Directory or hub id").fill(str(model))
    ada.get_by_role("button", name="Register").click()
    expect(ada.locator("main")).to_contain_text("Tiny")
    people = (("tina", "Trainer"), ("rob", "Reviewer"), ("leo", "Releaser"))
    pages = [join(window(), invited(ada, name, role), name) for name, role in people]
    ada.goto("/audit/")
    expect(ada.locator("main")).to_contain_text("Registered a language model")
    return pages


def upload(page: Page, file: Path) -> None:
    page.goto("/batches/")
    page.get_by_role("link", name="Upload a batch").first.click()
    page.set_input_files("input[type=file]", file)
    page.get_by_label("Name").fill("Counting")
    page.get_by_label("General", exact=False).check()
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("h1")).to_have_text("Counting")
    expect(page.locator("main .badge", has_text="Ready").first).to_be_visible(timeout=ENGINE_MS)
    expect(page.locator(".tok-decision").first).to_be_visible()
    expect(page.locator(".tok-context").first).to_be_visible()


def start_run(page: Page, name: str, rate: str, epochs: int = 1) -> str:
    """Start a run of the batch Counting; returns its page's address."""
    page.goto("/runs/")
    page.get_by_role("link", name="Start a run").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Counting").fill("1")
    page.get_by_label("Learning rate").fill(rate)
    page.get_by_label("Epochs").fill(str(epochs))
    expect(page.locator("#preview")).to_contain_text("steps")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("h1")).to_contain_text(name)
    return page.url


def watch(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("main .badge", has_text="Done").first).to_be_visible(timeout=ENGINE_MS)
    expect(page.locator("[data-chart] canvas, [data-chart] .bk-Figure").first).to_be_visible()
    page.reload()
    expect(page.locator("main .badge", has_text="Done").first).to_be_visible()


def stop_and_resume(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("main")).to_contain_text(
        re.compile(r"[1-9]\d* of \d+ steps"), timeout=ENGINE_MS
    )
    page.get_by_role("button", name="Stop").first.click()
    expect(page.locator("main .badge", has_text="Stopped").first).to_be_visible(timeout=ENGINE_MS)
    page.get_by_role("button", name="Resume this session").click()
    expect(page.get_by_role("button", name="Resume this session")).to_have_count(0)


def see_cost(page: Page, name: str) -> None:
    page.goto("/checkpoints/")
    page.get_by_role("link", name=name).first.click()
    verdict = page.locator("main .badge", has_text=re.compile("Retained|Forgotten|Inconclusive"))
    for _ in range(ENGINE_MS // 2000):
        if verdict.count():
            break
        page.wait_for_timeout(2000)
        page.reload()
    expect(verdict.first).to_be_visible()
    expect(page.locator("main")).to_contain_text("perplexity")


def review(page: Page) -> None:
    page.goto("/reviews/")
    judge = page.get_by_role("link", name=re.compile(r"^Judge"))
    for _ in range(ENGINE_MS // 2000):
        if judge.count():
            break
        page.wait_for_timeout(2000)
        page.reload()
    judge.first.click()
    page.wait_for_url(re.compile(r"/items/\d+/$"))
    while "/items/" in page.url:
        address = page.url
        press(page, "t", "Enter")
        page.wait_for_function("before => location.href !== before", arg=address)
    page.get_by_role("link", name="See names and findings").click()
    expect(page.locator("main")).to_contain_text("defect")
    page.get_by_label("Reason").fill("No defect in any answer.")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("main .badge", has_text="Approved").first).to_be_visible()


def promote(page: Page, name: str) -> None:
    page.goto("/promotions/")
    candidate = page.get_by_role("article", name=name)
    expect(candidate).to_be_visible()
    accept = candidate.get_by_role("checkbox")
    if accept.count():
        accept.check()
    candidate.get_by_label("Reason").fill("Measured and approved.")
    candidate.get_by_role("button", name="Promote to champion").click()
    expect(page.locator(".champion")).to_contain_text(name)
    expect(page.locator("#ledger")).to_contain_text("Measured and approved.")


def roll_back(page: Page) -> None:
    page.goto("/promotions/")
    page.locator("#rollback-reason").fill("Trying the way back.")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".champion")).to_contain_text("Rolled back")
    expect(page.locator("#ledger")).to_contain_text("Trying the way back.")


def compare(page: Page) -> None:
    page.goto("/compare/")
    for name in ("Slow", "Fast"):
        page.get_by_role("checkbox", name=re.compile(name)).check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("main")).to_contain_text("1e-5")
    expect(page.locator("main")).to_contain_text("3e-4")
    expect(page.locator("main table").first).to_be_visible()
    expect(page.locator("[data-chart] canvas, [data-chart] .bk-Figure").first).to_be_visible()


def test_from_upload_to_rollback(
    window: Callable[[], Page],
    portal: RunningPortal,
    tiny_model_directory: Path,
    complaints: list[str],
    tmp_path: Path,
) -> None:
    tina, rob, leo = team(window, portal.first_link, tiny_model_directory)
    file = tmp_path / "counting.jsonl"
    file.write_text(example_lines(24), encoding="utf-8")

    upload(tina, file)
    slow = start_run(tina, "Slow", "1e-5")
    fast = start_run(tina, "Fast", "3e-4", epochs=30)
    watch(tina, slow)
    stop_and_resume(tina, fast)
    watch(tina, fast)
    see_cost(tina, "Slow")
    compare(tina)
    review(rob)
    promote(leo, "Slow")
    roll_back(leo)
    assert wide_paths(portal.data) == []
    assert "\n".join(complaints) == ""
