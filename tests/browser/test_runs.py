"""Starting and watching a run in a real Chromium."""

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_learning import picture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def batches(cast: SimpleNamespace, language_model: Any) -> list[Any]:
    """A behavioural and a general batch, ready to be learnt."""
    from ftportal.datasets.models import Batch, BatchState

    made = []
    for name, kind in (("Harbour talks", "conversation"), ("General mix", "general")):
        batch = Batch.objects.create(
            name=name,
            kind=kind,
            language_model=language_model,
            state=BatchState.READY,
            filename="x.jsonl",
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            size_bytes=1,
            example_count=40,
            held_out_count=0,
            context_token_count=4000,
            decision_token_count=4000,
        )
        batch.directory.mkdir(parents=True)
        batch.examples_path.write_text("{}\n")
        made.append(batch)
    return made


def test_the_form_forecasts_and_warns_while_it_is_filled_in(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    batches: list[Any],
    complaints: list[str],
) -> None:
    from ftportal.runs.models import Run

    page = page_for(cast.tina, viewport={"width": 1280, "height": 900})
    page.goto("/runs/new/")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Give a batch a weight")
    page.get_by_label("Harbour talks").fill("3")
    expect(preview).to_contain_text("0 % of the examples are general")
    page.get_by_label("General mix").fill("1")
    expect(page.locator(f"#share-{batches[0].pk}")).to_have_text("75 %")
    expect(preview).to_contain_text("80 steps")
    expect(preview).not_to_contain_text("are general")
    page.get_by_label("Learning rate").fill("3e-3")
    expect(preview).to_contain_text("outside 1e-5 to 1e-4")
    page.get_by_label("Learning rate").fill("fast")
    expect(preview).to_contain_text("Write a number above 0")
    page.get_by_label("Learning rate").fill("2e-5")
    page.get_by_label("Name").fill("From the browser")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("h1")).to_have_text("From the browser")
    run = Run.objects.get()
    assert run.recipe["learning_rate"] == 2e-5
    assert run.recipe["method"]["name"] == "apollo"
    assert complaints == []


def test_loras_base_is_asked_for_with_lora_alone(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    batches: list[Any],
    complaints: list[str],
) -> None:
    page = page_for(cast.tina, viewport={"width": 1280, "height": 900})
    page.goto("/runs/new/")
    page.get_by_label("Harbour talks").fill("1")
    page.get_by_text("More settings").click()
    base = page.get_by_label("LoRA's base is held")
    expect(page.get_by_label("Schedule")).to_be_visible()
    expect(base).to_be_hidden()
    page.get_by_label("LoRA", exact=False).first.check()
    expect(base).to_be_visible()
    base.select_option("4")
    expect(page.locator("#preview")).to_contain_text("needs a worker with a CUDA GPU")
    picture(page, "base-bits")
    page.get_by_label("AdamW", exact=False).first.check()
    expect(base).to_be_hidden()
    expect(page.locator("#preview")).not_to_contain_text("A base in 4 bit")
    assert complaints == []


def test_the_watch_page_follows_a_run_and_survives_a_reload(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    language_model: Any,
    batches: list[Any],
    complaints: list[str],
) -> None:
    from engine.events import Metric
    from ftportal.runs.drawings import run_charts
    from ftportal.runs.kind import run_events
    from ftportal.runs.services import run_submit

    run = run_submit(
        submitter=cast.tina,
        name="Watched",
        parent=language_model.pretrained,
        mixture=[(batch, 1.0) for batch in batches],
        recipe={"method": {"name": "adamw"}},
    )

    def measure(step: int) -> None:
        values = {"loss_nats": 3.0 / step, "gradient_norm": 1.0, "displacement": 0.1 * step}
        run_events(run.job, [Metric(step=step, values=values)])

    page = page_for(cast.tina, viewport={"width": 1280, "height": 1400})
    page.goto(f"/runs/{run.pk}/")
    charts = [chart for group in run_charts(run) for chart in group.open]
    assert [chart.title for chart in charts] == ["Loss by batch"]
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(1)
    page.locator("summary", has_text="Speed").click()  # a folded group is drawn when it is opened
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(2)
    expect(page.locator(".run-figures")).to_contain_text("Not started yet")
    figure = page.locator(".bk-Figure").first.element_handle()
    table = page.locator("details.chart-table").first
    table.locator("summary").click()
    for step in (1, 2, 3):
        measure(step)
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(page.locator(".run-figures")).to_contain_text("1.833")
    assert figure is not None
    assert figure.is_visible(), "patched in place"
    page.reload()
    expect(page.locator(".run-figures")).to_contain_text("1.833")
    expect(page.locator("details.chart-table").first.locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Resume this session")).to_be_visible()
    expect(page.locator(".lead")).to_contain_text("Stopped")
    assert complaints == []


def test_who_only_looks_sees_no_buttons(
    page_for: Callable[..., Page], cast: SimpleNamespace, language_model: Any, batches: list[Any]
) -> None:
    from ftportal.runs.services import run_submit

    run = run_submit(
        submitter=cast.tina,
        name="Watched",
        parent=language_model.pretrained,
        mixture=[(batches[0], 1.0)],
        recipe={},
    )
    page = page_for(cast.otto)
    page.goto(f"/runs/{run.pk}/")
    expect(page.locator("h1")).to_have_text("Watched")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("link", name="Start another like this")).to_have_count(0)
