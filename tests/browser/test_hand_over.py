"""Handing a checkpoint over by the mouse: ask for an export, download the tar, copy a command."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, expect

from engine.manifest import manifest_check
from ftportal.handover.models import Export
from tests.ftportal.house import checkpoint_make, model_make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_trainer_takes_a_checkpoint_home(
    cast: SimpleNamespace,
    language_model: object,
    page_for: Callable[..., Page],
    complaints: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ftportal.handover.services.export_refusal", lambda _: "")
    monkeypatch.setattr("ftportal.handover.selectors.export_refusal", lambda _: "")
    anchor = language_model.pretrained  # type: ignore[attr-defined]
    page = page_for(cast.tina)
    page.goto(f"/checkpoints/{anchor.pk}/")
    section = page.locator("#hand-over")
    with page.expect_download() as started:
        section.get_by_role("link", name="Download as tar").click()
    path = tmp_path / "got.tar"
    started.value.save_as(path)
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path, filter="data")
    manifest_check(tmp_path / started.value.suggested_filename.removesuffix(".tar"))

    section.get_by_text("Commands to serve it").click()
    copy = section.get_by_role("button", name="Copy the command for vLLM")
    copy.click()
    expect(copy).to_have_text("Copied")

    section.get_by_role("button", name="Export Q8_0").click()
    expect(page.get_by_role("status")).to_contain_text("Q8_0 waits for a worker")
    expect(page.locator("#hand-over")).to_contain_text("Waiting")
    assert Export.objects.get().job.is_live
    assert complaints == []


def test_a_reader_sees_the_card_and_no_download(
    cast: SimpleNamespace,
    data_dir: Path,
    page_for: Callable[..., Page],
    complaints: list[str],
) -> None:
    model = model_make()
    child = checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    page = page_for(cast.otto)
    page.goto(f"/checkpoints/{child.pk}/")
    section = page.locator("#hand-over")
    expect(section).to_contain_text("No GGUF can be written of it. config.json: is missing")
    expect(section.get_by_role("link", name="Download as tar")).to_have_count(0)
    section.get_by_role("link", name="Model card").click()
    expect(page.locator("body")).to_contain_text("# Zebra nine")
    assert complaints == []
