"""The judging page without a mouse, through the browser's history, and on a telephone."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ftportal.reviews.models import Generation, SpotCheck, Vote
from tests.browser.keys import press
from tests.browser.narrow import nothing_scrolls_sideways
from tests.ftportal.house import check_make, checkpoint_make, model_make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = "\n\n".join(f"Paragraph {number}: " + "word " * 30 for number in range(20))
HOSTILE = (
    "![a cat](https://evil.example/cat.png) <img src=https://evil.example/x.png onerror=alert(1)>\n"
    "[here](https://evil.example/) <script src=https://evil.example/x.js></script> "
    '<style>@import "https://evil.example/x.css";</style>'
)


@pytest.fixture
def check(transactional_db: None, data_dir: Any, cast: SimpleNamespace) -> SpotCheck:
    """Four prompts open for votes; the answers hold markup."""
    model = model_make()
    candidate = checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    return check_make(candidate, model.pretrained, prompts=4, submitter=cast.tina)


def preferred(page: Page) -> Any:
    return page.locator('input[name="preference"]:checked').get_attribute("value")


def answers_set(check: SpotCheck, **texts: str) -> None:
    """Let candidate and baseline have answered every prompt with these texts."""
    for side, text in texts.items():
        answers = getattr(check, f"{side}_answers")
        Generation.objects.filter(generation_set=answers).update(text=text)


def standing_is(page: Page, judged: int, left: int) -> None:
    expect(page.get_by_text(f"{judged} judged by you, {left} left for you.")).to_be_visible()


def number_of(page: Page) -> str:
    """The number of the item whose page is open, from its address."""
    found = re.search(r"/items/(\d+)/", page.url)
    assert found is not None, page.url
    return found.group(1)


def test_a_spot_check_is_judged_by_keys_alone(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    standing_is(page, 0, 4)
    for key, value in (
        ("ArrowLeft", "left"),
        ("ArrowRight", "right"),
        ("=", "tie"),
        ("t", "tie"),
        ("b", "both_bad"),
    ):
        press(page, key)
        assert preferred(page) == value

    # A defect: its kind gets the focus, then its reason, in which letters are letters.
    press(page, "1")
    expect(page.locator("#left-category")).to_be_focused()
    press(page, "w")
    press(page, "Tab")
    expect(page.locator("#left-reason")).to_be_focused()
    press(page, "Enter")
    standing_is(page, 0, 4)  # no reason yet: the browser objects
    page.keyboard.type("bad = 1 and 2")
    assert preferred(page) == "both_bad"
    press(page, "Escape", "c")
    page.keyboard.type("It should have said no.")

    # What was typed survives a reload, and so do the sides.
    left = page.locator(".answer").first.inner_text()
    page.reload()
    assert page.locator(".answer").first.inner_text() == left
    expect(page.locator("#left-reason")).to_have_value("bad = 1 and 2")
    expect(page.get_by_label("What it should have said")).to_have_value("It should have said no.")
    assert preferred(page) == "both_bad"
    press(page, "Enter")
    standing_is(page, 1, 3)
    vote = Vote.objects.get()
    assert (vote.preference, vote.left_category, vote.left_reason, vote.corrected_answer) == (
        "both_bad",
        "fact",
        "bad = 1 and 2",
        "It should have said no.",
    )

    # Enter without a preference says what is missing; a key behind the list of keys does nothing.
    press(page, "Enter")
    expect(page.get_by_text("Choose left, right, tie or both bad first.")).to_be_visible()
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "ArrowLeft")
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.locator('input[name="preference"]:checked').count() == 0

    for judged in (2, 3):
        press(page, "ArrowLeft", "Enter")
        standing_is(page, judged, 4 - judged)
    press(page, "ArrowRight", "Enter")
    expect(page.locator("h1")).to_have_text("Your votes")
    page.get_by_role("link", name="See names and findings").click()
    expect(page.locator("h1")).to_contain_text("Zebra nine")
    assert Vote.objects.count() == 4
    assert complaints == []


def test_back_shows_what_was_judged_and_records_nothing(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    first = number_of(page)
    press(page, "ArrowLeft", "Enter")
    standing_is(page, 1, 3)
    second = number_of(page)
    page.go_back()
    expect(page.locator("h1")).to_have_text(f"Prompt {first}, as you judged it")
    expect(page.get_by_text("You judged: left is better")).to_be_visible()
    assert page.locator('input[name="preference"]').count() == 0
    press(page, "ArrowRight", "Enter")  # the vote stands; Enter goes on
    page.wait_for_url(re.compile(rf"/items/{second}/"))
    assert preferred_or_none(page) is None
    assert [vote.preference for vote in Vote.objects.all()] == ["left"]

    # Change it, by keys, only where that is said.
    press(page, "p")
    expect(page.locator("h1")).to_have_text(f"Prompt {first}, as you judged it")
    press(page, "e")
    expect(page.locator("h1")).to_have_text("Change your vote")
    assert preferred(page) == "left"
    press(page, "Escape")
    expect(page.locator("h1")).to_have_text(f"Prompt {first}, as you judged it")
    press(page, "e")
    expect(page.locator("h1")).to_have_text("Change your vote")
    press(page, "=", "Enter")
    expect(page.get_by_text("Your vote was changed.")).to_be_visible()
    assert [vote.preference for vote in Vote.objects.all()] == ["tie"]

    # Take it back: it is judged anew, with nothing chosen.
    press(page, "u")
    expect(page.get_by_text(f"Your vote on prompt {first} was taken back")).to_be_visible()
    assert number_of(page) == first
    assert preferred_or_none(page) is None
    assert not Vote.objects.exists()
    assert complaints == []


def preferred_or_none(page: Page) -> Any:
    chosen = page.locator('input[name="preference"]:checked')
    return chosen.get_attribute("value") if chosen.count() else None


def test_a_page_left_open_cannot_overwrite_a_vote(
    context_for: Callable[..., Any], cast: SimpleNamespace, check: SpotCheck
) -> None:
    context = context_for(cast.rob)
    one, other = context.new_page(), context.new_page()
    one.goto(f"/reviews/{check.pk}/next/")
    other.goto(one.url)
    press(one, "ArrowLeft", "Enter")
    standing_is(one, 1, 3)
    press(other, "ArrowRight", "Enter")
    expect(other.get_by_text("that vote stands")).to_be_visible()
    assert [vote.preference for vote in Vote.objects.all()] == ["left"]


def test_skip_and_return(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    skipped = []
    for count in (1, 2):
        skipped.append(number_of(page))
        press(page, "s")
        expect(page.get_by_role("link", name=f"{count} skipped: return to")).to_be_visible()
    assert number_of(page) not in skipped
    page.get_by_role("link", name="2 skipped: return to them").click()
    page.wait_for_url(re.compile(rf"/items/{skipped[0]}/"))
    for judged in (1, 2, 3):
        press(page, "t", "Enter")
        standing_is(page, judged, 4 - judged)
    assert number_of(page) == skipped[1]
    expect(page.get_by_text("Only the prompt that you skipped is left.")).to_be_visible()
    press(page, "t", "Enter")
    expect(page.locator("h1")).to_have_text("Your votes")
    page.get_by_role("button", name="Take back").first.click()
    standing_is(page, 3, 1)  # also after the last vote, until the check is decided
    assert Vote.objects.count() == 3
    assert complaints == []


def test_reading_by_keys(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    thought = "<think>\nHm, hm.\n</think>\n\n"
    long = {"candidate": f"So **it** is.\n\n{LONG}", "baseline": f"No.\n\n{LONG}"}
    answers_set(check, **{side: thought + text for side, text in long.items()})
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    answers = page.locator("#answers")
    last = answers.get_by_text("Paragraph 19")
    expect(answers.locator("strong", has_text="it")).to_be_visible()
    expect(last).to_have_count(2)
    expect(last.first).to_be_hidden()
    press(page, "f")
    for side in (0, 1):
        expect(last.nth(side)).to_be_visible()
    expect(answers.get_by_role("button", name="Fold it again")).to_have_count(2)
    press(page, "f")
    expect(last.nth(1)).to_be_hidden()

    thoughts = answers.get_by_text("Hm, hm.")
    expect(thoughts.first).to_be_hidden()
    press(page, "h")
    for side in (0, 1):
        expect(thoughts.nth(side)).to_be_visible()
    answers.locator("summary").first.click()  # by hand too, both sides at once
    for side in (0, 1):
        expect(thoughts.nth(side)).to_be_hidden()

    press(page, "ArrowLeft", "d")
    expect(answers.locator("mark")).to_have_count(2)
    expect(answers.get_by_text("Marked is what the other answer does not have.")).to_be_visible()
    assert preferred(page) == "left"  # what was chosen stays
    press(page, "r")
    as_written = answers.get_by_role("button", name="As written")
    expect(as_written).to_have_attribute("aria-pressed", "true")
    for keys in ("rdr", "rd"):  # faster than the page: the last key counts
        page.evaluate(
            "keys => { for (const key of keys) document.body.dispatchEvent("
            "new KeyboardEvent('keydown', { key, bubbles: true })); }",
            keys,
        )
        shown = "As written" if keys[-1] == "r" else "Differences"
        button = answers.get_by_role("button", name=shown)
        expect(button).to_have_attribute("aria-pressed", "true")
    press(page, "r")
    expect(as_written).to_have_attribute("aria-pressed", "true")
    expect(answers.get_by_text("So **it** is.")).to_be_visible()
    press(page, "Enter")
    standing_is(page, 1, 3)
    expect(as_written).to_have_attribute("aria-pressed", "true")  # the next one is shown alike
    press(page, "r")
    expect(answers.locator("strong", has_text="it")).to_be_visible()
    assert complaints == []


def test_judging_with_one_hand(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck, complaints: list[str]
) -> None:
    answers_set(check, candidate=LONG, baseline=f"{LONG}\n\n```python\nprint('{'x' * 90}')\n```")
    page = page_for(cast.rob, viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto("/reviews/")
    page.get_by_role("link", name="Judge 4 prompts").tap()
    left, right = (page.locator(".side-card").nth(n).bounding_box() for n in (0, 1))
    assert left is not None
    assert right is not None
    assert right["y"] >= left["y"] + left["height"]  # stacked
    nothing_scrolls_sideways(page)

    # The bar stays at the bottom, and every target in it is large enough for a thumb.
    bar = page.locator(".vote-bar")
    for target in bar.locator("label, button").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["width"] >= 44
        assert 844 - 200 < box["y"] < 844
    page.get_by_label("Right is defective").tap()
    page.get_by_label("Kind of defect").nth(1).select_option("unsafe")
    page.get_by_label("What is wrong with it?").nth(1).fill("rude")
    page.locator('label:has(input[value="left"])').tap()
    page.get_by_role("button", name="Submit and next").tap()
    standing_is(page, 1, 3)
    vote = Vote.objects.get()
    assert (vote.right_reason, vote.right_category) == ("rude", "unsafe")
    page.get_by_role("button", name="Take back my last vote").tap()
    standing_is(page, 0, 4)
    assert not Vote.objects.exists()
    page.get_by_role("button", name="Skip").tap()
    expect(page.get_by_role("link", name="1 skipped: return to it")).to_be_visible()
    assert complaints == []


def test_a_hostile_answer_is_text_and_asks_for_nothing(
    page_for: Callable[..., Page],
    live_server: Any,
    cast: SimpleNamespace,
    check: SpotCheck,
    complaints: list[str],
) -> None:
    answers_set(check, candidate=HOSTILE, baseline=f"<think>{HOSTILE}</think>{HOSTILE}")
    page = page_for(cast.rob)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.goto(f"/reviews/{check.pk}/next/")
    answers = page.locator("#answers")
    expect(answers).to_contain_text("[image: a cat] (https://evil.example/cat.png)")
    expect(answers).to_contain_text("<script src=https://evil.example/x.js></script>")
    assert answers.locator("img, script, style, a").count() == 0
    for key in ("h", "d", "r"):
        press(page, key)
        page.wait_for_load_state("networkidle")
    assert asked
    assert [address for address in asked if not address.startswith(live_server.url)] == []
    assert complaints == []


def test_a_corrected_answer_begins_with_one_that_is_there(
    page_for: Callable[..., Page], cast: SimpleNamespace, check: SpotCheck
) -> None:
    answers_set(check, candidate="<think>hm</think>Nearly <right>.", baseline="Nearly <right>.")
    page = page_for(cast.rob)
    page.goto(f"/reviews/{check.pk}/next/")
    press(page, "c")
    page.get_by_role("button", name="Begin with the left one").click()
    corrected = page.get_by_label("What it should have said")
    expect(corrected).to_have_value("Nearly <right>.")
    corrected.press("End")
    page.keyboard.type(" Now it is.")
    press(page, "Control+Enter")
    expect(page.get_by_text("Choose left, right, tie or both bad first.")).to_be_visible()
    press(page, "Escape", "b", "Enter")
    standing_is(page, 1, 3)
    assert Vote.objects.get().corrected_answer == "Nearly <right>. Now it is."
