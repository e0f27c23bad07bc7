"""Whether a page fits a narrow window."""

from playwright.sync_api import Page, TimeoutError

_SCROLLING = """() => [...document.querySelectorAll(".table-wrap, html")]
    .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.textContent.trim().slice(0, 80))"""


def nothing_scrolls_sideways(page: Page) -> None:
    """Fail where the page or a table of it is wider than the window, once charts have followed."""
    try:
        page.wait_for_function(f"({_SCROLLING})().length === 0", timeout=5_000)
    except TimeoutError:
        raise AssertionError(f"wider than the window: {page.evaluate(_SCROLLING)}") from None
