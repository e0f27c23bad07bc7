"""axe-core on a page that is open: every rule of WCAG 2.1 A and AA, and its best practices.

It is run by the debugger's door, which the page's content security policy does not bind, so that
a walk can look at both in one window.
"""

from importlib.resources import files
from typing import Any

from playwright.sync_api import Page, ViewportSize

WIDE = ViewportSize(width=1280, height=900)
NARROW = ViewportSize(width=390, height=844)
_SOURCE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_COLOURS = ["color-contrast", "link-in-text-block"]
"""All that the other colour scheme can change: it moves and hides nothing."""
_NARROW_ALONE = ".menu-toggle, .alone"
"""All that a narrow window alone shows; the rest was seen wide in these colours."""
_TWO_FRAMES = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
)
_RUN = """([where, only]) => document.querySelector(where)
    ? axe.run(where, {runOnly: only, resultTypes: ["violations"]}) : {violations: []}"""


def violations(page: Page) -> list[str]:
    """What is wrong with the page, at both widths and in both colour schemes, one line each.

    The page is wide and light before and after.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_SOURCE)
    everything = {"type": "tag", "values": _TAGS}
    colours = {"type": "rule", "values": _COLOURS}
    seen = _look(page, everything, "wide")
    page.emulate_media(color_scheme="dark")
    seen += _look(page, colours, "wide, dark")
    page.set_viewport_size(NARROW)
    seen += _look(page, everything, "narrow, dark")
    page.emulate_media(color_scheme="light")
    seen += _look(page, colours, "narrow", _NARROW_ALONE)
    page.set_viewport_size(WIDE)
    return seen


def _look(page: Page, only: dict[str, Any], how: str, where: str = "html") -> list[str]:
    page.evaluate(_TWO_FRAMES)  # what follows a new size, such as where tables scroll, is done
    return [
        f"{page.url} ({how}): {one['id']}: {one['help']}: {node['html'][:160]}"
        for one in page.evaluate(_RUN, [where, only])["violations"]
        for node in one["nodes"]
    ]
