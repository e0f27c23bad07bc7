"""A benchmark of one's own in a real Chromium: refused by line, mended, put into a suite."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ftportal.evaluations.models import OwnBenchmark, Suite
from ftportal.evaluations.services import evaluations_seed

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LINES: list[dict[str, Any]] = [
    {"question": "The sky is", "choices": ["blue", "green"], "answer": "blue"},
    {"question": "Grass is", "choices": ["blue", "green"], "answer": "green"},
]


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_a_benchmark_is_uploaded_mended_and_put_into_a_suite(
    cast: SimpleNamespace,
    data_dir: Path,
    tmp_path: Path,
    page_for: Callable[..., Page],
    complaints: list[str],
) -> None:
    evaluations_seed()
    page = page_for(cast.tina, viewport={"width": 1280, "height": 900})
    page.goto("/benchmarks/")
    page.get_by_role("link", name="Upload a benchmark").click()
    broken = [*LINES, {"question": "Blood is", "choices": ["red", "blue"]}]
    page.locator("#id_file").set_input_files(written(tmp_path / "broken.jsonl", broken))
    page.locator("#id_name").fill("Colours")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("one line cannot be used")
    expect(page.get_by_role("row").filter(has_text="It has no answer")).to_contain_text("3")
    page.locator("#id_file").set_input_files(written(tmp_path / "good.jsonl", LINES))
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("h1")).to_have_text("Colours")
    expect(page.get_by_role("row").filter(has_text="Grass is")).to_contain_text("green")

    own = OwnBenchmark.objects.get()
    page = page_for(cast.ada, viewport={"width": 390, "height": 844})
    page.goto("/suites/new/")
    page.locator("#id_name").fill("Ours")
    page.get_by_label("Colours", exact=True).check()
    page.get_by_label("Items of HellaSwag, at most").fill("200")
    page.get_by_label("HellaSwag", exact=True).check()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("Ours is there.")).to_be_visible()
    made = Suite.objects.get(name="Ours")
    asked = [(one["name"], one["limit"]) for one in made.benchmarks]
    assert asked == [(own.key, None), ("hellaswag", 200)]
    # A refused form answers 422, which Chromium notes as a failed load and nothing else.
    assert [one for one in complaints if "422" not in one] == []
