"""A held-out set in a real Chromium: refused without documents, uploaded, read, listed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_held_out_set_is_uploaded_and_read(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    data_dir: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    empty, texts = tmp_path / "empty.txt", tmp_path / "letters.txt"
    empty.write_text("\n\n")
    # One document would close the pre and run; all of it is text here.
    texts.write_text("The harbour was quiet.\n---\n</pre><script>alert(1)</script> & so on.\n")
    page = page_for(cast.tina, viewport={"width": 390, "height": 844})
    page.goto(reverse("datasets:held_out_sets"))
    page.get_by_role("link", name="Upload").first.click()
    page.get_by_label("Name").fill("Letters")
    page.get_by_label("Domain").fill("Prose")
    page.get_by_label("Source").fill("The attic")
    page.get_by_label("File").set_input_files(empty)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("File").set_input_files(texts)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("h1")).to_have_text("Letters")
    expect(page.locator("main")).to_contain_text("2 documents of prose")
    expect(page.locator("pre").nth(1)).to_contain_text("<script>alert(1)</script>")
    page.goto(reverse("datasets:held_out_sets"))
    expect(page.get_by_role("link", name="Letters")).to_be_visible()
    # The refused upload answers 422, which browsers note.
    assert [one for one in complaints if "422" not in one] == []
