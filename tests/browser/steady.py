"""A page that has come to rest, and everything that its browser complained of on the way."""

from urllib.parse import urlsplit

from django.urls import Resolver404, resolve
from playwright.sync_api import ConsoleMessage, Page, Request, Response, TimeoutError

_FOLDED = "details.chart-group:not([open]) *"  # charts in there are drawn when it is opened
_RESTLESS = f"""[...document.querySelectorAll(
    ".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added, "
    + "[data-chart]:not([data-drawn], {_FOLDED})"
)].map((one) => one.outerHTML.slice(0, 120))"""
_AT_REST = f"() => document.readyState === 'complete' && {_RESTLESS}.length === 0"


def settle(page: Page) -> None:
    """Wait until every fragment has arrived and every chart is drawn."""
    try:
        page.wait_for_function(_AT_REST)
    except TimeoutError:
        raise AssertionError(f"{page.url} never rests: {page.evaluate(_RESTLESS)}") from None


def watched(page: Page, wrong: list[str]) -> Page:
    """Collect what goes wrong on a page: its log, its scripts, its requests and their answers."""

    def log(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"{page.url}: {message.text}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a poll on a page that was left
            wrong.append(f"{page.url}: {request.url}: {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            wrong.append(f"{page.url}: {response.url} was answered {response.status}")

    page.on("console", log)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("requestfailed", failed)
    page.on("response", answered)
    return page


def route_of(address: str) -> str:
    """The name of the route that an address is of; "" for none."""
    try:
        return resolve(urlsplit(address).path).view_name
    except Resolver404:
        return ""
