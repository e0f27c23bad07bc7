"""The forgetting report in a real Chromium: read it, follow a count to its items, search them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.browser.narrow import nothing_scrolls_sideways
from tests.ftportal.dashboard import world

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def contrast(cast: SimpleNamespace, data_dir: Path) -> SimpleNamespace:
    return world.contrast_make(cast)


def test_the_report_is_read_from_verdict_to_item(
    contrast: SimpleNamespace, page_for: Callable[..., Page], complaints: list[str]
) -> None:
    page = page_for(contrast.cast.otto, viewport={"width": 1280, "height": 900})
    page.goto(reverse("checkpoints:checkpoint", args=[contrast.reckless.output_id]))
    page.get_by_role("link", name="Forgetting report").first.click()
    expect(page.locator("h1")).to_have_text("Did Reckless forget?")
    expect(page.locator(".verdict .badge").first).to_have_text("Forgotten")
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(2)
    row = page.get_by_role("row").filter(has_text="Python code").first
    row.get_by_role("link", name="7").click()
    expect(page.locator("#item-list")).to_contain_text("7 items")
    assert "change=lost" in page.url and "benchmark=local_code" in page.url
    page.locator("#id_text").fill("no such words")
    expect(page.locator("#item-list")).to_contain_text("No item like that changed")
    page.locator("#id_text").fill("")
    expect(page.locator("#item-list")).to_contain_text("Right answer")
    page.locator("select[name=change]").select_option("gained")
    expect(page.locator("#item-list")).to_contain_text("No item")
    page.go_back()
    page.get_by_text("Formulas").click()
    expect(page.get_by_text("exact McNemar")).to_be_visible()
    assert complaints == []


def test_the_report_fits_a_phone(
    contrast: SimpleNamespace, page_for: Callable[..., Page], complaints: list[str]
) -> None:
    page = page_for(contrast.cast.otto, viewport={"width": 390, "height": 844})
    page.goto(reverse("evaluations:report", args=[contrast.reckless.output_id]))
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(2)
    nothing_scrolls_sideways(page)
    assert complaints == []
