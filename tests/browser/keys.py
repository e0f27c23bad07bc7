"""Keys, pressed when a page listens for them."""

from playwright.sync_api import Page


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other, once the page's deferred scripts have run.

    A page can be seen, and its address be the new one, before its scripts listen.
    """
    page.wait_for_load_state("domcontentloaded")
    for key in keys:
        page.keyboard.press(key)
