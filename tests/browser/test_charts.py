"""Charts in a real Chromium, under the portal's strict CSP."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.urls import include, path
from playwright.sync_api import Page, expect

from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.pages.point_charts import Interval, Spot, interval_chart, scatter_chart

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGE = (
    '{% extends "base.html" %}{% block header_title %}Charts{% endblock %}'
    "{% block scripts %}{% chart_scripts %}{% endblock %}"
    '{% block content %}<section class="card" id="charts">'
    "{% for one in charts %}{% chart one %}{% endfor %}</section>"
    '<button id="swap" hx-get="/fragment/" hx-target="#charts" hx-swap="innerHTML">Swap</button>'
    '<button id="refuse" hx-get="/refused/" hx-target="#charts">Refuse</button>{% endblock %}'
)
FRAGMENT = "{% for one in charts %}{% chart one %}{% endfor %}"
STEPS = list(range(1, 41))
polls: list[int] = []


def _live_series(steps: list[int]) -> list[Series]:
    loss = [2.0 * math.exp(-step / 12) + 0.2 for step in steps]
    return [
        Series(name="Agent log", x=steps, y=loss, raw=[value * 1.1 for value in loss]),
        Series(name="General", x=steps[::2], y=[value + 0.5 for value in loss[::2]]),
    ]


def _charts() -> list[Chart]:
    return [
        line_chart(
            title="Loss",
            x_label="step",
            y_label="nats per decision token",
            series=_live_series(STEPS[:10]),
            update_url="/metrics/",
            x_range=(0, 40),
            y_from_zero=True,
            marks={"forecast": 1.5},
        ),
        interval_chart(
            title="Differences",
            unit="percentage points",
            intervals=[
                Interval(label="Code", value=1.2, low=-0.5, high=2.9),
                Interval(label="Arithmetic", value=-3.0, low=-5.1, high=-0.9),
            ],
        ),
        scatter_chart(
            title="Damage",
            x_label="displacement",
            y_label="perplexity",
            spots=[
                Spot(name="careful", x=2.3, y=14.9),
                Spot(name="reckless", x=21.7, y=28.5, x_low=21.0, x_high=22.0),
            ],
        ),
    ]


def _render(template: str, request: HttpRequest, charts: list[Chart]) -> str:
    return engines["django"].from_string(template).render({"charts": charts}, request)


def page_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_render(PAGE, request, _charts()))


def fragment_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_render(FRAGMENT, request, _charts()[1:]))


def refused_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no", status=403)


def metrics_view(request: HttpRequest) -> HttpResponse:
    polls.append(1)
    series = {one.name: one.update() for one in _live_series(STEPS)}
    series["General"]["y"][3] = None
    return JsonResponse({"live": False, "series": series})


class Addresses:
    """A URL configuration of this file's own, in front of the portal's."""

    urlpatterns = [
        path("charts/", page_view),
        path("fragment/", fragment_view),
        path("refused/", refused_view),
        path("metrics/", metrics_view),
        path("", include("ftportal.urls")),
    ]


@pytest.fixture
def chart_page(
    settings: Any, page_for: Callable[..., Page], cast: SimpleNamespace
) -> Callable[..., Page]:
    """`chart_page(**options)`: the page with one chart of each sort, all drawn."""

    def open_page(**options: Any) -> Page:
        settings.ROOT_URLCONF = Addresses
        page = page_for(cast.otto, **options)
        page.goto("/charts/")
        expect(page.locator("[data-chart][data-drawn] .bk-Figure")).to_have_count(3)
        return page

    return open_page


def _until(page: Page, condition: str) -> None:
    """Wait for a JavaScript expression; Playwright's own wait needs eval, which the CSP forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def _height(page: Page, number: int = 0) -> float:
    box = page.locator("[data-chart]").nth(number).bounding_box()
    assert box is not None
    return box["height"]


def _hover(page: Page, number: int, *, across: float, down: float) -> str:
    """Point at a place of a chart, in shares of its size; the text that then floats there."""
    chart = page.locator("[data-chart]").nth(number)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    tip = chart.locator(".chart-tip")
    expect(tip).to_be_visible()
    return tip.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_charts_draw_under_the_csp_without_a_complaint(
    chart_page: Callable[..., Page], complaints: list[str], scheme: str, width: int
) -> None:
    page = chart_page(color_scheme=scheme, viewport={"width": width, "height": 1400})
    assert _height(page) == pytest.approx(260, abs=8)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("Bokeh.documents[0].roots()[0].background_fill_color")
    assert paper == ("#ffffff" if scheme == "light" else "#1d1f22")
    assert complaints == []


def test_a_chart_follows_its_window(chart_page: Callable[..., Page], complaints: list[str]) -> None:
    page = chart_page(viewport={"width": 1280, "height": 900})
    figure = page.locator(".bk-Figure").first
    wide = figure.bounding_box()
    page.set_viewport_size({"width": 700, "height": 900})
    _until(page, "document.querySelector('.bk-Figure').clientWidth < 700")
    narrow = figure.bounding_box()
    assert wide is not None
    assert narrow is not None
    assert narrow["width"] < wide["width"]
    assert narrow["height"] == wide["height"]
    assert complaints == []


def test_a_change_of_scheme_redraws(chart_page: Callable[..., Page], complaints: list[str]) -> None:
    page = chart_page(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    _until(
        page,
        "Bokeh.documents.length === 3 &&"
        " Bokeh.documents[0].roots()[0].background_fill_color.startsWith('#1')",
    )
    expect(page.locator(".bk-Figure")).to_have_count(3)
    assert complaints == []


def test_a_live_chart_is_patched_and_stops_asking(
    chart_page: Callable[..., Page], complaints: list[str]
) -> None:
    polls.clear()
    page = chart_page()
    chart = page.locator("[data-chart]").first
    before = chart.locator(".bk-Figure").element_handle()
    page.locator("summary").first.click()
    rows = page.locator("details.chart-table tbody tr")
    expect(rows.nth(39)).to_be_attached()
    assert rows.nth(0).inner_text().split() == ["1", "2.04", "2.54"]
    assert rows.nth(6).inner_text().split()[2] == "–"
    assert before is not None
    assert before.is_visible(), "the chart was patched, not drawn again"
    page.wait_for_timeout(4500)
    assert len(polls) == 1
    assert complaints == []


def test_hovering_names_every_line_at_one_step(chart_page: Callable[..., Page]) -> None:
    page = chart_page(viewport={"width": 1000, "height": 1200})
    text = _hover(page, 0, across=0.2, down=0.4)
    assert text.startswith("step ")
    assert "Agent log" in text
    assert "measured" in text
    assert "General" in text
    page.mouse.move(1, 1)
    expect(page.locator(".chart-tip").first).to_be_hidden()


def test_hovering_a_point_gives_its_interval(chart_page: Callable[..., Page]) -> None:
    page = chart_page(viewport={"width": 1280, "height": 1200})
    box = page.locator("[data-chart]").nth(1).bounding_box()
    assert box is not None
    seen = set()
    for down in (0.25, 0.5):
        for across in range(10, 100):
            page.mouse.move(box["x"] + across / 100 * box["width"], box["y"] + down * box["height"])
            tip = page.locator(".chart-tip").nth(1)
            if tip.is_visible():
                seen.add(tip.inner_text())
    assert seen == {
        "Code\npercentage points: 1.2\nfrom -0.5 to 2.9",
        "Arithmetic\npercentage points: -3\nfrom -5.1 to -0.9",
    }


def test_a_legend_entry_hides_its_line(
    chart_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = chart_page(viewport={"width": 1000, "height": 1200})
    entry = page.get_by_role("button", name="General")
    entry.focus()
    page.keyboard.press("Enter")
    expect(entry).to_have_attribute("aria-pressed", "false")
    assert "General" not in _hover(page, 0, across=0.2, down=0.4)
    entry.click()
    assert "General" in _hover(page, 0, across=0.2, down=0.4)
    assert complaints == []


def test_charts_that_htmx_takes_away_are_disposed_of(
    chart_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = chart_page()
    for _ in range(3):
        page.locator("#swap").click()
        _until(page, "document.querySelectorAll('.bk-Figure').length === 2")
        _until(page, "Bokeh.documents.length === 2")
    assert complaints == []


def test_a_refused_swap_leaves_the_charts_alone(chart_page: Callable[..., Page]) -> None:
    page = chart_page()
    with page.expect_response("**/refused/"):
        page.locator("#refuse").click()
    expect(page.locator(".bk-Figure")).to_have_count(3)
    assert page.evaluate("Bokeh.documents.length") == 3
