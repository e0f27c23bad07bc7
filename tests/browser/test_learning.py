"""What a batch would teach, in the browser: reasoning and marks, repeats, scores, and mixtures."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from ftportal.checkpoints.services import language_model_register
from ftportal.datasets.models import Batch
from ftportal.datasets.reading import reading_finish
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.mixtures.models import Mixture
from ftportal.runs.models import Run
from tests.browser.narrow import nothing_scrolls_sideways
from tests.corpus.test_thinking import THINKS
from tests.ftportal.house import batch_make, engine_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
VIEWPORTS = [{"width": 1280, "height": 900}, {"width": 390, "height": 844}]


def picture(page: Page, name: str) -> None:
    """Keep a picture where somebody asks for it."""
    folder = os.environ.get("FTPORTAL_PICTURES")
    if folder:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)


def thinking(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": f"aside {number}", "weight": 0},
            {"role": "user", "content": "and now?"},
            {
                "role": "assistant",
                "content": f"<think>so far {number} and no further</think>answer {number}",
                "weight": 1,
            },
        ]
    }


def upload_and_read(page: Page, file: Path, reasoning: str) -> Batch:
    page.goto(reverse("datasets:batch_new"))
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("Conversation", exact=False).first.check()
    page.get_by_label(reasoning, exact=False).first.check()
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/batches/\d+/"))
    batch = Batch.objects.latest("pk")
    reading_finish(engine_run(batch))
    page.goto(reverse("datasets:batch", args=[batch.pk]))
    return Batch.objects.get(pk=batch.pk)


@pytest.mark.parametrize(
    ("reasoning", "sort"), [("learn it", "decision"), ("only read", "context")]
)
def test_the_token_view_tells_reasoning_and_marks_apart(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    tmp_path: Path,
    reasoning: str,
    sort: str,
    complaints: list[str],
) -> None:
    file = tmp_path / "thoughts.jsonl"
    file.write_text("".join(json.dumps(thinking(n)) + "\n" for n in range(6)))
    page = page_for(cast.tina)
    upload_and_read(page, file, reasoning)
    first = page.locator("article").first
    thought = "".join(first.locator(".tok-reasoning").all_text_contents())
    assert thought == "so far 0 and no further"
    assert (
        first.locator(f".tok-reasoning.tok-{sort}").count()
        == first.locator(".tok-reasoning").count()
    )
    learnt = "".join(first.locator(".tok-decision").all_text_contents())
    assert "aside" not in learnt and "answer 0" in learnt
    picture(page, f"reasoning-{sort}")
    assert complaints == []


def test_answering_without_thinking_is_chosen_and_shown(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    directory = tmp_path / "thinker"
    shutil.copytree(tiny_model_directory, directory)
    (directory / "chat_template.jinja").write_text(THINKS)
    language_model_register(
        name="Thinker", source="tests", note="", licence="", directory=directory
    )
    file = tmp_path / "plain.jsonl"
    answer = {"role": "assistant", "content": "3"}
    talks = [[{"role": "user", "content": f"Sum {n}?"}, answer] for n in range(6)]
    file.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    page = page_for(cast.tina, viewport=VIEWPORTS[0])
    page.goto(reverse("datasets:batch_new"))
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("Conversation", exact=False).first.check()
    page.get_by_label("Also learn to answer without thinking", exact=False).check()
    for viewport in VIEWPORTS:
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        nothing_scrolls_sideways(page)
        picture(page, f"without-thinking-form-{viewport['width']}")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/batches/\d+/"))
    batch = Batch.objects.latest("pk")
    reading_finish(engine_run(batch))
    page.goto(reverse("datasets:batch", args=[batch.pk]))
    expect(page.get_by_text("the model learns to close its thinking at once").first).to_be_visible()
    first = page.locator("article").first
    assert first.locator(".tok-reasoning.tok-decision").all_text_contents()
    for viewport in VIEWPORTS:
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        nothing_scrolls_sideways(page)
        picture(page, f"without-thinking-{viewport['width']}")
    assert complaints == []


def test_repeats_are_opened_and_counted(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    records = [
        {"prompt": f"{words} {'first' if n % 3 else 'last'}", "completion": "as before"}
        for n in range(3)
    ] + [{"prompt": f"something else {n}", "completion": f"answer {n}"} for n in range(5)]
    file = tmp_path / "repeats.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    page = page_for(cast.tina)
    upload_and_read(page, file, "learn it")
    screening = page.locator("#screening")
    expect(screening).to_contain_text("3 of 8 examples say almost the same as another")
    expect(screening).to_contain_text("about as much as 6 different examples")
    screening.get_by_text("Groups", exact=True).click()
    screening.get_by_text("Lines 1, 2, 3").click()
    expect(screening.locator("article")).to_have_count(3)
    page.get_by_text("The most frequent last decisions").click()
    expect(page.locator("tr", has_text="as before").first).to_contain_text("3")
    picture(page, "repeats")
    assert complaints == []


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_a_batch_is_scored_and_what_is_broken_left_out(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    viewport: dict[str, int],
    complaints: list[str],
) -> None:
    batch = batch_make(language_model, "Talks", count=24)
    page = page_for(cast.tina, viewport=viewport)
    page.goto(reverse("datasets:batch", args=[batch.pk]))
    page.get_by_role("button", name="Score every decision").click()
    expect(page.locator("main")).to_contain_text("Waiting")
    job_run_now(Job.objects.get(kind="score"))
    page.reload()
    expect(page.locator("main")).to_contain_text("24 decisions are very unlikely")
    likelihoods = page.locator("tbody td[data-label='Nats a token']")
    values = [float(text.replace("−", "-")) for text in likelihoods.all_text_contents()]
    assert len(values) == 20 and values == sorted(values)
    picture(page, f"learnability-{viewport['width']}")
    page.get_by_role("link", name="Likeliest first").click()
    page.wait_for_url(re.compile("sort=-likelihood"))
    texts = likelihoods.all_text_contents()
    values = [float(text.replace("−", "-")) for text in texts]
    assert values == sorted(values, reverse=True)
    nothing_scrolls_sideways(page)
    page.get_by_label("Nats a token").fill(f"{values[5]}")
    page.get_by_role("button", name="Make a version without them").click()
    page.wait_for_url(re.compile(rf"/batches/(?!{batch.pk}/)\d+/"))
    made = Batch.objects.latest("pk")
    assert made.version == 2 and 0 < len(made.options["leave_out"]) < 24
    assert complaints == []


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_a_mixture_is_made_looked_at_and_trained_with(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    viewport: dict[str, int],
    complaints: list[str],
) -> None:
    batch_make(language_model, "Talks", count=30)
    batch_make(language_model, "General", count=40, kind="general")
    page = page_for(cast.tina, viewport=viewport)
    page.goto(reverse("mixtures:mixtures"))
    page.get_by_role("link", name="Make a mixture").first.click()
    page.get_by_label("Name", exact=True).fill("Autumn")
    page.get_by_label("General share, %").fill("25")
    page.get_by_label("Order seed").fill("3")
    page.get_by_label("Talks", exact=True).fill("1")
    page.get_by_role("button", name="Make the mixture").click()
    expect(page.get_by_role("alert")).to_contain_text("25 % are to be general, but no batch is")
    complaints.clear()  # Chromium notes the refusal, which is meant
    page.get_by_label("General", exact=True).fill("1")
    page.get_by_role("button", name="Make the mixture").click()
    expect(page.locator("h1")).to_contain_text("Autumn")
    expect(page.locator("main")).to_contain_text("25 % general, 0 % replay, order by seed 3")
    page.get_by_text("Show them").click()
    expect(page.locator("tbody tr", has_text="of Talks").first).to_be_visible()
    picture(page, f"mixture-{viewport['width']}")
    nothing_scrolls_sideways(page)
    page.get_by_role("link", name="Train with it").click()
    expect(page.locator("#mixture")).to_contain_text("The mixture Autumn")
    expect(page.locator("#preview")).to_contain_text("step")
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url(re.compile(r"/runs/\d+/"))
    expect(page.locator("main")).to_contain_text("As in Autumn")
    run = Run.objects.get()
    assert run.from_mixture == Mixture.objects.get() and run.recipe["seed"] == 3
    assert run.job.state == JobState.QUEUED
    page.goto(reverse("mixtures:mixtures"))
    expect(page.locator("tbody tr")).to_contain_text("Autumn")
    picture(page, f"mixtures-{viewport['width']}")
    assert complaints == []
