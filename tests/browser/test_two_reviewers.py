"""A plan of twenty prompts, judged by two at once, settled by a third, decided, promoted, undone.

All of it in real browsers, judging by the keyboard alone; only the models' answers are given.
"""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ftportal.accounts.models import User
from ftportal.reviews.models import Generation, SpotCheck, Vote
from tests.browser.keys import press
from tests.ftportal import house

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

PROMPTS = 20
CANDIDATE, BASELINE = "Reading one", "Reading two"
"""What the answers begin with: a reviewer tells them apart by what they say and not by a name."""
OTHERWISE = {3, 8, 15}
"""Rosa prefers the other answer here, and of Rob's opinion is she else."""
DEFECT = 12
"""She prefers the same one here, and finds the other one defective."""
SETTLED_OTHERWISE = {15}
"""Where the third reviewer is of Rosa's opinion."""
ITEM = re.compile(r"/items/(\d+)/")


@pytest.fixture
def house_of_six(transactional_db: None, data_dir: Any, cast: SimpleNamespace) -> SimpleNamespace:
    """A measured candidate, twenty prompts, and four reviewers, so that the strict policy holds."""
    model = house.model_make()
    candidate = house.checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    house.verdict_make(candidate, model.pretrained)
    house.prompts_make(PROMPTS, name="Twenty")
    for name in ("rita", "rolf"):
        person = User.objects.create(username=name, first_name=name.capitalize(), is_reviewer=True)
        setattr(cast, name, person)
    return SimpleNamespace(**vars(cast), candidate=candidate)


def number_of(page: Page) -> int:
    """The number of the prompt whose page is open."""
    page.wait_for_url(ITEM)
    match = ITEM.search(page.url)
    assert match is not None
    return int(match.group(1))


def key_for(page: Page, wanted: str) -> str:
    """The key that prefers the answer that says so."""
    is_left = wanted in page.locator("#left-answer").inner_text()
    assert is_left != (wanted in page.locator("#right-answer").inner_text())
    return "ArrowLeft" if is_left else "ArrowRight"


def send(page: Page, *keys: str) -> None:
    """Press keys of which the last one leads to another page."""
    before = page.url
    press(page, *keys)
    page.wait_for_function("before => location.href !== before", arg=before)
    page.wait_for_load_state("domcontentloaded")


def rob_votes(page: Page) -> int:
    """The candidate is better, everywhere."""
    number = number_of(page)
    send(page, key_for(page, CANDIDATE), "Enter")
    return number


def rosa_votes(page: Page) -> int:
    """As Rob does, but for some."""
    number = number_of(page)
    preference = key_for(page, BASELINE if number in OTHERWISE else CANDIDATE)
    if number == DEFECT:
        press(page, "1" if key_for(page, BASELINE) == "ArrowLeft" else "2")
        press(page, "w", "Tab")
        page.keyboard.type("It was not so")
        press(page, "Escape")
    send(page, preference, "Enter")
    return number


def standing_is(page: Page, judged: int, left: int) -> None:
    expect(page.get_by_text(f"{judged} judged by you, {left} left for you.")).to_be_visible()


def opened(page: Page, people: SimpleNamespace) -> SpotCheck:
    """Tina asks for the check, by the plan that the policy gives; both models have answered."""
    page.goto(f"/reviews/open/{people.candidate.pk}/")
    page.get_by_label("Prompts", exact=True).select_option("Twenty")
    expect(page.locator("#open")).to_contain_text("by 2 reviewers, and by a third where they")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("main")).to_contain_text("Both models are answering the prompts")
    check = SpotCheck.objects.get()
    house.answers_give(check)
    for answers, word in ((check.candidate_answers, CANDIDATE), (check.baseline_answers, BASELINE)):
        for answer in Generation.objects.filter(generation_set=answers):
            answer.text = f"{word} of it.\n\nThe rest is alike."
            answer.save()
    return check


def begin(page: Page, count: int) -> None:
    page.goto("/reviews/")
    page.get_by_role("link", name=f"Judge {count} prompts").click()


def back_and_change_of_mind(page: Page, judged: int) -> None:
    """Back shows what was judged and changes nothing; a vote is taken back and given anew."""
    before, here = rob_votes(page), number_of(page)
    page.go_back()
    expect(page.locator("h1")).to_have_text(f"Prompt {before}, as you judged it")
    expect(page.get_by_text(re.compile("You judged: (left|right) is better"))).to_be_visible()
    send(page, "Enter")
    assert number_of(page) == here
    standing_is(page, judged + 1, PROMPTS - judged - 1)
    send(page, "u")
    assert number_of(page) == before
    standing_is(page, judged, PROMPTS - judged)


def judge_side_by_side(rob: Page, rosa: Page, check: SpotCheck) -> None:
    """One vote each in turn. Rob changes his mind; Rosa skips, stops for now, and returns."""
    begin(rob, PROMPTS)
    begin(rosa, PROMPTS)
    skipped = number_of(rosa)
    send(rosa, "s")
    expect(rosa.get_by_role("link", name="1 skipped: return to it")).to_be_visible()
    for turn in range(PROMPTS - 1):
        if turn == 4:
            back_and_change_of_mind(rob, judged=turn)
        if turn == 6:
            rosa.get_by_role("button", name="Stop for now").click()
            begin(rosa, PROMPTS - turn)
        rob_votes(rob)
        assert rosa_votes(rosa) != skipped
    assert number_of(rosa) == skipped
    expect(rosa.get_by_text("Only the prompt that you skipped is left.")).to_be_visible()
    rob_votes(rob)
    rosa_votes(rosa)
    assert Vote.objects.count() == 2 * PROMPTS
    for page in (rob, rosa):
        expect(page.locator("h1")).to_have_text("Your votes")
        page.goto(f"/reviews/{check.pk}/")
        expect(page.locator("h1")).to_contain_text("Spot-check of")  # names no side yet
        expect(page.locator("main")).not_to_contain_text("Zebra nine")


def settle_disputes(page: Page) -> None:
    """A third one judges what two disagree on, and nothing else."""
    disputed = OTHERWISE | {DEFECT}
    begin(page, len(disputed))
    judged = set()
    for _ in disputed:
        number = number_of(page)
        judged.add(number)
        send(page, key_for(page, BASELINE if number in SETTLED_OTHERWISE else CANDIDATE), "Enter")
    assert judged == disputed
    page.get_by_role("link", name="See names and findings").click()
    expect(page.locator("h1")).to_contain_text("Zebra nine")


def decide(voter: Page, decider: Page, check: SpotCheck) -> None:
    """By the strict policy who has judged does not decide; somebody else approves."""
    for page in (voter, decider):
        page.goto(f"/reviews/{check.pk}/")
        expect(page.locator("main")).to_contain_text(f"{PROMPTS - 1} : 1")
        expect(page.locator("main")).to_contain_text("On 4 prompts two disagreed")
    expect(voter.get_by_role("button", name="Approve")).to_have_count(0)
    expect(voter.locator("main")).to_contain_text("A reviewer who has not judged it decides")
    decider.get_by_label("Reason").fill("One of twenty was better before.")
    decider.get_by_role("button", name="Approve").click()
    expect(decider.locator("main .badge", has_text="Approved").first).to_be_visible()


def promote_and_roll_back(page: Page) -> None:
    page.goto("/promotions/")
    candidate = page.get_by_role("article", name="Zebra nine")
    candidate.get_by_label("Reason").fill("Two reviewers and a third.")
    candidate.get_by_role("button", name="Promote to champion").click()
    expect(page.locator(".champion")).to_contain_text("Zebra nine")
    page.locator("#rollback-reason").fill("Trying the way back.")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".champion")).to_contain_text("Small, pre-trained")
    expect(page.locator("#ledger")).to_contain_text("Trying the way back.")


def test_two_disagree_a_third_settles_it_and_it_is_promoted(
    page_for: Callable[..., Page], house_of_six: SimpleNamespace, complaints: list[str]
) -> None:
    people = house_of_six
    check = opened(page_for(people.tina), people)
    rob, rosa = page_for(people.rob), page_for(people.rosa)
    judge_side_by_side(rob, rosa, check)
    settle_disputes(page_for(people.rita))
    decide(rob, page_for(people.rolf), check)
    promote_and_roll_back(page_for(people.leo))
    assert complaints == []
