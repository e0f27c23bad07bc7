"""Pictures of the pages of a running portal, for the README and for a look at every page.

    make run                     # in one terminal
    make screenshots             # in another

Visits every list and one page of each thing, light and dark, 1280 and 390 pixels wide, and writes
PNG files. Exits 1 when a page is wider than its window or a browser's log had an error, a warning
or a violation of the content security policy.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDTHS = {"wide": 1280, "narrow": 390}

# name -> (address of a list, the first link on it that matches); "" is the list itself
PAGES = {
    "home": ("/", ""),
    "batches": ("/batches/", ""),
    "batch": ("/batches/", r"^/batches/\d+/$"),
    "batch-new": ("/batches/new/", ""),
    "held-out-sets": ("/held-out/", ""),
    "prompt-sets": ("/prompts/", ""),
    "runs": ("/runs/", ""),
    "run": ("/runs/", r"^/runs/\d+/$"),
    "run-new": ("/runs/new/", ""),
    "checkpoints": ("/checkpoints/", ""),
    "checkpoint": ("/checkpoints/", r"^/checkpoints/\d+/$"),
    "evaluations": ("/evaluations/", ""),
    "evaluation": ("/evaluations/", r"^/evaluations/\d+/$"),
    "suites": ("/suites/", ""),
    "rules": ("/rules/", ""),
    "reviews": ("/reviews/", ""),
    "spot-check": ("/reviews/", r"^/reviews/\d+/$"),
    "vote": ("/reviews/", r"^/reviews/\d+/next/$"),
    "promotions": ("/promotions/", ""),
    "compare": ("/compare/", ""),
    "lineage": ("/lineage/", ""),
    "jobs": ("/jobs/", ""),
}


def log_in(page: Page, name: str, password: str) -> None:
    """Log in through the form."""
    page.goto("/login/")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("button[type=submit]")
    page.wait_for_url(re.compile(r"/$"))


def links(page: Page, pattern: str) -> list[str]:
    """The addresses that the page's links lead to, those that match."""
    links_found = [link.get_attribute("href") or "" for link in page.locator("main a").all()]
    return [address for address in dict.fromkeys(links_found) if re.match(pattern, address)]


def addresses(page: Page) -> dict[str, str]:
    """The address of each page that exists; things are found by the links of their list."""
    by_name = {}
    for name, (listing, pattern) in PAGES.items():
        page.goto(listing)
        if matching := [listing] if not pattern else links(page, pattern):
            by_name[name] = matching[-1]  # the oldest: the demo's first session
    page.goto("/runs/")
    runs = [address.split("/")[2] for address in links(page, r"^/runs/\d+/$")]
    if len(runs) > 1:
        by_name["compare"] = "/compare/?" + "&".join(f"run={run}" for run in sorted(runs, key=int))
    for checkpoint in links_of(page, "/checkpoints/", r"^/checkpoints/\d+/$"):
        page.goto(checkpoint)
        page.wait_for_timeout(1000)
        for report in links(page, r"^/reports/\d+/$")[:1]:
            by_name[f"report-{checkpoint.split('/')[2]}"] = report
            by_name[f"checkpoint-{checkpoint.split('/')[2]}"] = checkpoint
    return by_name


def links_of(page: Page, listing: str, pattern: str) -> list[str]:
    """The matching links of the page at `listing`."""
    page.goto(listing)
    return links(page, pattern)


def pictures(page: Page, pages: dict[str, str], to: Path, suffix: str) -> list[str]:
    """Take a picture of every page; returns what the browser complained of."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", note)
    for name, address in pages.items():
        page.goto(address)
        page.wait_for_timeout(1200)  # panels and charts load after the page
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if (overflow := page.evaluate(width)) > 0:
            complaints.append(f"{address}: {overflow} px wider than its window ({suffix})")
        page.screenshot(path=to / f"{name}-{suffix}.png", full_page=True)
    return complaints


def main() -> int:
    """Take the pictures; 1 when a browser complained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--logins", type=Path, default=Path("var/demo_logins.txt"))
    parser.add_argument("--user", default="tina")
    parser.add_argument("--to", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--schemes", nargs="*", default=["light", "dark"])
    parser.add_argument("--sizes", nargs="*", default=list(WIDTHS))
    options = parser.parse_args()
    logins = dict(line.split()[:2] for line in options.logins.read_text().splitlines())
    options.to.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    system = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=FLAGS)
        for scheme in options.schemes:
            for size in options.sizes:
                context = browser.new_context(
                    base_url=options.url,
                    color_scheme=scheme,
                    viewport={"width": WIDTHS[size], "height": 900},
                )
                page = context.new_page()
                log_in(page, options.user, logins[options.user])
                pages = addresses(page)
                if options.only:
                    pages = {name: pages[name] for name in options.only if name in pages}
                complaints += pictures(page, pages, options.to, f"{scheme}-{size}")
                context.close()
        browser.close()
    for complaint in complaints:
        print(complaint, file=sys.stderr)  # noqa: T201
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
