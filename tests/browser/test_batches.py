"""Batches in a real Chromium: a cut line, what is asked, what is looked through, new versions."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from ftportal.datasets.models import Batch, BatchState, Upload
from ftportal.datasets.reading import reading_finish
from tests.ftportal.house import engine_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def talk(number: int, **more: Any) -> dict[str, Any]:
    """A conversation that is not held out for any number below 12."""
    answer = {"role": "assistant", "content": f"answer {number}"}
    return {"messages": [{"role": "user", "content": f"question {number}"}, answer], **more}


def written(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def choose(page: Page, file: Path, kind: str = "Conversation") -> None:
    page.goto(reverse("datasets:batch_new"))
    page.get_by_label("File").set_input_files(file)
    page.get_by_label(kind, exact=False).first.check()
    expect(page.locator("[data-look] .notice")).to_be_visible()


def uploaded(page: Page) -> Batch:
    """Send the form, have the file read, and open the batch's page."""
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/batches/\d+/"))
    return read_again(page)


def read_again(page: Page) -> Batch:
    batch = Batch.objects.latest("pk")
    reading_finish(engine_run(batch))
    batch.refresh_from_db()
    page.goto(reverse("datasets:batch", args=[batch.pk]))
    return batch


def test_an_upload_survives_a_cut_line_and_a_reload(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    filler = "word " * 2000
    file = written(tmp_path / "long.jsonl", [talk(n, source=filler) for n in range(2100)])
    page = page_for(cast.tina)
    pieces: list[str] = []

    def second_piece_fails(route: Route) -> None:
        pieces.append(route.request.url.split("offset=")[1])
        if len(pieces) == 2:
            route.abort("connectionreset")
        elif len(pieces) == 3:
            route.abort("connectionreset")
            page.evaluate("window.location.reload()")
        else:
            route.continue_()

    page.route("**/batches/uploads/*/?offset=*", second_piece_fails)
    choose(page, file)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("[data-upload-status]")).to_contain_text("what was sent is kept")
    expect(page.locator("[data-upload-status]")).to_be_hidden()  # the page was loaded again
    assert Upload.objects.get().received_bytes == 8 << 20
    choose(page, file)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/batches/\d+/"))
    assert pieces[:4] == ["0", "8388608", "8388608", "8388608"]
    batch = Batch.objects.get()
    assert batch.source_path.read_bytes() == file.read_bytes()


def test_unused_fields_are_confirmed_and_columns_mapped(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    data_dir: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    page = page_for(cast.tina, viewport={"width": 390, "height": 844})
    choose(page, written(tmp_path / "moods.jsonl", [talk(n, mood="calm") for n in range(1, 9)]))
    expect(page.locator("[data-look]")).to_contain_text("Not used: mood")
    batch = uploaded(page)
    assert batch.state == BatchState.ASKING
    expect(page.locator("#questions")).to_contain_text("mood is not used")
    page.get_by_role("button", name="Go on without them").click()
    expect(page.locator(".figure-big")).to_contain_text("8 examples")
    rows = "".join(f"q{n},a{n},calm\n" for n in range(8))
    table = tmp_path / "table.csv"
    table.write_text("question,answer,mood\n" + rows)
    choose(page, table)
    uploaded(page)
    expect(page.get_by_label("What question is")).to_have_value("user")
    page.get_by_label("What mood is").select_option("system")
    expect(page.locator("#columns-preview")).to_contain_text("System calm")
    page.get_by_role("button", name="Read it so").click()
    expect(page.locator("main")).to_contain_text("Reading the file")
    batch = read_again(page)
    assert batch.state == BatchState.READY
    assert json.loads(batch.examples_path.read_text().split("\n")[0])["turns"][0] == {
        "role": "system",
        "content": "calm",
    }
    assert complaints == []


def test_trajectories_are_counted_and_filtered_by_outcome(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    data_dir: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    def trajectory(number: int) -> dict[str, Any]:
        call = {"id": "c", "function": {"name": "look", "arguments": "{}"}}
        turns = [
            {"role": "user", "content": f"task {number}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "seen"},
            {"role": "assistant", "content": f"done {number}"},
        ]
        return {"traj": turns, "reward": float(number % 4 == 0)}

    page = page_for(cast.tina)
    choose(page, written(tmp_path / "agent.jsonl", [trajectory(n) for n in range(12)]), "Agent log")
    look = page.locator("[data-look]")
    expect(look).to_contain_text("Last answer: 12 decisions; of 12 tool calls, 0")
    expect(look).to_contain_text("Every answer: 24 decisions; of 12 tool calls, 12")
    batch = uploaded(page)
    assert batch.decision_rule == "all"
    expect(page.locator("main")).to_contain_text("3 of 12 examples have reward 1.00")
    page.get_by_role("button", name="Make a new version").click()
    page.wait_for_url(re.compile(rf"/batches/(?!{batch.pk}/)\d+/"))
    made = read_again(page)
    assert made.report["left_out"] == {"reward below 1": 9}
    expect(page.locator("h1")).to_contain_text("agent, version 2")
    expect(page.locator("main")).to_contain_text("9 records: reward below 1")
    assert complaints == []


def test_rows_that_measure_and_personal_data_are_taken_out(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    data_dir: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    from ftportal.datasets.services import held_out_set_create

    said = "Which of these rivers flows through the city of Vienna before the sea"
    held_out_set_create(name="Rivers", domain="prose", source="made here", documents=[said])
    records = [talk(n) for n in range(1, 6)]
    records[1]["messages"][0]["content"] = f"{said}?"
    records[2]["messages"][0]["content"] = "write to jo.doe@firma.de"
    page = page_for(cast.tina)
    choose(page, written(tmp_path / "mixed.jsonl", records))
    uploaded(page)
    expect(page.locator("#questions")).to_contain_text("1 example of what the model is measured by")
    page.get_by_text("Which ones").click()
    expect(page.locator("#questions")).to_contain_text("Held-out text Rivers")
    page.get_by_role("button", name="Leave them out").click()
    expect(page.locator("main")).to_contain_text("Reading the file")
    batch = read_again(page)
    assert (batch.state, batch.example_count) == (BatchState.READY, 4)
    expect(page.locator("#screening")).to_contain_text("1 × an e-mail address")
    page.get_by_role("button", name="Make a version with them covered").click()
    page.wait_for_url(re.compile(rf"/batches/(?!{batch.pk}/)\d+/"))
    made = read_again(page)
    assert "[email]" in made.examples_path.read_text()
    assert "firma" not in made.examples_path.read_text()
    expect(page.locator("main")).to_contain_text("Secrets and personal data are covered")
    assert complaints == []
