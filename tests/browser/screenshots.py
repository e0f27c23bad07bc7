"""Pictures of the pages of a running portal, for the README and for a look at every page.

    make run                     # in one terminal
    make screenshots             # in another

Visits every page that the trainer's navigation leads to, and one page of each thing, light and dark,
1280 and 390 pixels wide, and writes PNG files. Exits 1 when a browser's log had an error, a warning or
a violation of the content security policy.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDTHS = {"wide": 1280, "narrow": 390}
SCHEMES = ("light", "dark")

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


def log_in(browser: Browser, url: str, name: str, password: str) -> dict[str, object]:
    """The storage state of a browser that is logged in as `name`."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    page.goto("/login/")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("button[type=submit]")
    page.wait_for_url(re.compile(r"/$"))
    state = dict(context.storage_state())
    context.close()
    return state


def addresses(context: BrowserContext) -> dict[str, str]:
    """The address of each page that exists; things are found by the links of their list."""
    page = context.new_page()
    found: dict[str, str] = {}
    for name, (listing, pattern) in PAGES.items():
        if not pattern:
            found[name] = listing
            continue
        page.goto(listing)
        links = [link.get_attribute("href") or "" for link in page.locator("main a").all()]
        for link in links:
            if re.match(pattern, link):
                found[name] = link
                break
    page.goto("/runs/")
    runs = {
        match.group(1)
        for link in page.locator("main a").all()
        if (match := re.match(r"^/runs/(\d+)/$", link.get_attribute("href") or ""))
    }
    if len(runs) > 1:
        found["compare"] = "/compare/?" + "&".join(f"run={run}" for run in sorted(runs, key=int))
    verdict = page.goto(found.get("checkpoint", "/checkpoints/"))
    assert verdict is not None
    page.wait_for_timeout(1000)
    for link in page.locator("main a").all():
        if re.match(r"^/verdicts/\d+/$", link.get_attribute("href") or ""):
            found["verdict"] = link.get_attribute("href") or ""
            break
    page.close()
    return found


def main() -> int:
    """Take the pictures; 1 when a browser complained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--logins", type=Path, default=Path("var/demo_logins.txt"))
    parser.add_argument("--user", default="tina")
    parser.add_argument("--to", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    logins = dict(line.split()[:2] for line in options.logins.read_text().splitlines())
    options.to.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    system = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=FLAGS)
        state = log_in(browser, options.url, options.user, logins[options.user])
        pages = addresses(browser.new_context(base_url=options.url, storage_state=state))  # type: ignore[arg-type]
        for scheme in SCHEMES:
            for size, width in WIDTHS.items():
                context = browser.new_context(
                    base_url=options.url,
                    storage_state=state,  # type: ignore[arg-type]
                    color_scheme=scheme,  # type: ignore[arg-type]
                    viewport={"width": width, "height": 900},
                )
                page = context.new_page()
                page.on(
                    "console",
                    lambda message: (
                        complaints.append(f"{page.url}: {message.text}")
                        if message.type in ("error", "warning")
                        else None
                    ),
                )
                for name, address in pages.items():
                    if options.only and name not in options.only:
                        continue
                    page.goto(address)
                    page.wait_for_timeout(1200)  # panels and charts load after the page
                    overflow = page.evaluate(
                        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    )
                    if overflow > 0:
                        complaints.append(f"{address}: {overflow} px wider than {width} px")
                    page.screenshot(path=options.to / f"{name}-{scheme}-{size}.png", full_page=True)
                context.close()
        browser.close()
    for complaint in complaints:
        print(complaint, file=sys.stderr)  # noqa: T201
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
