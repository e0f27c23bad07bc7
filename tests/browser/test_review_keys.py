"""The voting page without a mouse, and on a telephone."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ftportal.reviews.models import SpotCheck, Vote
from tests.browser.keys import press
from tests.ftportal.house import check_make, checkpoint_make, model_make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def check(transactional_db: None, data_dir: Any, cast: SimpleNamespace) -> SpotCheck:
    """Four prompts open for votes; the answers hold markup."""
    model = model_make()
    candidate = checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    return check_make(candidate, model.pretrained, prompts=4, submitter=cast.tina)


def preferred(page: Page) -> Any:
    return page.locator('input[name="preference"]:checked').get_attribute("value")


def test_a_spot_check_is_judged_by_keys_alone(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    expect(page.get_by_text("Prompt 1 of 4")).to_be_visible()
    for key, value in (
        ("ArrowLeft", "left"),
        ("ArrowRight", "right"),
        ("=", "tie"),
        ("t", "tie"),
        ("b", "both_bad"),
    ):
        press(page, key)
        assert preferred(page) == value

    # A defect: its reason gets the focus, and letters in it are letters.
    press(page, "1")
    expect(page.locator("#left-reason")).to_be_focused()
    press(page, "Enter")
    expect(page.get_by_text("Prompt 1 of 4")).to_be_visible()  # no reason yet: the browser objects
    page.keyboard.type("bad = 1 and 2")
    assert preferred(page) == "both_bad"

    # What was typed survives a reload, and so do the sides.
    left = page.locator(".answer").first.inner_text()
    page.reload()
    assert page.locator(".answer").first.inner_text() == left
    expect(page.locator("#left-reason")).to_have_value("bad = 1 and 2")
    assert preferred(page) == "both_bad"
    press(page, "Enter")
    expect(page.get_by_text("Prompt 2 of 4")).to_be_visible()
    vote = Vote.objects.get()
    assert (vote.preference, vote.left_defective, vote.left_reason) == (
        "both_bad",
        True,
        "bad = 1 and 2",
    )

    # Enter without a preference says what is missing.
    press(page, "Enter")
    expect(page.get_by_text("Choose left, right, tie or both bad first.")).to_be_visible()
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "ArrowLeft")
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.locator('input[name="preference"]:checked').count() == 0

    for number in (3, 4):
        press(page, "ArrowLeft")
        press(page, "Enter")
        expect(page.get_by_text(f"Prompt {number} of 4")).to_be_visible()
    press(page, "ArrowRight")
    press(page, "Enter")
    expect(page.locator("h1")).to_contain_text("Zebra nine")  # names, now that all is judged
    assert Vote.objects.count() == 4
    assert complaints == []


def test_judging_on_a_telephone(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    page = page_for(cast.rob, viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto("/reviews/")
    page.get_by_role("link", name="Judge 4 prompts").tap()
    left, right = (page.locator(".side-card").nth(n).bounding_box() for n in (0, 1))
    assert left is not None
    assert right is not None
    assert right["y"] >= left["y"] + left["height"]  # stacked
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_label("Right is defective").tap()
    page.get_by_label("What is wrong with it?").nth(1).fill("rude")
    page.locator('label:has(input[value="left"])').tap()
    page.get_by_role("button", name="Submit and next").tap()
    expect(page.get_by_text("Prompt 2 of 4")).to_be_visible()
    assert Vote.objects.get().right_reason == "rude"
    page.get_by_role("button", name="Take back my last vote").tap()
    expect(page.get_by_text("Prompt 1 of 4")).to_be_visible()
    assert not Vote.objects.exists()
    assert complaints == []


def test_markup_in_an_answer_stays_text(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck
) -> None:
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    answer = page.locator(".answer").first
    assert answer.inner_text().startswith("<b>answer")
    assert "\n  to " in answer.inner_text()
    assert answer.locator("b").count() == 0
