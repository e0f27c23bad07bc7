"""The compare page in a real Chromium: choose runs, zoom all curves at once, take the table."""

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
    made = world.contrast_make(cast)
    for checkpoint, nats in (
        (made.anchor, 20.0),
        (made.careful.output, 15.0),
        (made.reckless.output, 6.0),
    ):
        values = [nats + number / 10 for number in range(4)]
        world.retention_make(checkpoint=checkpoint, batch=made.answers, nats=values)
    return made


def ends(page: Page) -> list[list[int]]:
    """First and last step that each curve shows."""
    result: list[list[int]] = page.evaluate(
        "Bokeh.documents.flatMap((one) => one.roots())"
        ".filter((one) => one.x_range.type === 'Range1d')"
        ".map((one) => [Math.round(one.x_range.start), Math.round(one.x_range.end)])"
    )
    return result


def test_runs_are_compared_zoomed_and_exported(
    contrast: SimpleNamespace, page_for: Callable[..., Page], complaints: list[str]
) -> None:
    page = page_for(contrast.cast.otto, viewport={"width": 1280, "height": 900})
    page.goto(reverse("dashboard:compare"))
    page.get_by_role("checkbox", name="Careful").check()
    page.get_by_role("searchbox").fill("reck")
    expect(page.locator("#choices li")).to_have_count(2)  # the chosen one stays
    page.get_by_role("checkbox", name="Reckless").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(4)
    expect(page.locator("#trade")).to_contain_text("Learning against forgetting")
    expect(page.locator("main")).to_contain_text("Only what differs")

    assert ends(page) == [[0, 20]] * 3
    page.get_by_label("From step").fill("5")
    page.get_by_label("to", exact=True).fill("10")
    page.get_by_label("to", exact=True).press("Tab")
    assert ends(page) == [[5, 10]] * 3
    page.get_by_role("button", name="Whole runs").click()
    assert ends(page) == [[0, 20]] * 3

    curve = page.locator('[data-zoom="curves"]').first
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 110, steps=5)
    page.mouse.up()
    (start, end), *others = ends(page)
    assert 0 < start < end < 20 and others == [[start, end]] * 2

    page.get_by_label("Differences to").select_option("first")
    expect(page.locator("main")).to_contain_text("the baseline")
    assert "base=first" in page.url and f"run={contrast.careful.pk}" in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    page.set_viewport_size({"width": 390, "height": 844})
    nothing_scrolls_sideways(page)
    assert "Learned, own held-out examples" in Path(download.value.path()).read_text()
    assert complaints == []
