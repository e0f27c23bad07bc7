"""Find a Chromium for the browser tests, or install one; says what to do where it cannot."""

import os
import shutil
import subprocess
import sys


def found() -> bool:
    """Whether a system Chromium or Playwright's own is there."""
    if shutil.which("chromium") or shutil.which("chromium-browser"):
        return True
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return os.path.exists(playwright.chromium.executable_path)  # noqa: PTH110


def main() -> int:
    """Exit status 0 when a Chromium is there in the end."""
    if found():
        return 0
    attempts: list[list[list[str]]] = []
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
        attempts.append([["apt-get", "update", "-qq"], [*install, "chromium", "fonts-dejavu-core"]])
    attempts.append([[sys.executable, "-m", "playwright", "install", "chromium"]])
    for commands in attempts:
        print("No Chromium found; trying:", " && ".join(map(" ".join, commands)))  # noqa: T201
        if (
            all(subprocess.run(command, check=False).returncode == 0 for command in commands)
            and found()
        ):
            return 0
    print(  # noqa: T201
        "The browser tests need Chromium, and none could be installed. Install it by hand, for"
        " example `sudo apt-get install chromium`, and run `make test` again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
