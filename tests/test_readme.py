"""What the README names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATHS = sorted(
    {one for one in re.findall(r"`([a-z_/.]+/[a-z_/.]*)`", README) if "output/" not in one}
)
TARGETS = sorted(set(re.findall(r"`make ([a-z-]+)", README)))


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_something_was_looked_for() -> None:
    assert len(PATHS) > 10 and {"run", "check"} <= set(TARGETS)


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [one.name for one in folder.glob("0*.md") if f"({one.name})" not in index] == []
