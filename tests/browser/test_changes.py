"""The heat maps of what a run changed, in a real Chromium."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_runs import batches  # noqa: F401, a fixture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LAYERS = 30
SHAPES = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}


def record() -> dict[str, Any]:
    """A displacement.json with SmolLM2's names; every other layer's ranks were measured."""
    tensors: dict[str, Any] = {"model.norm.weight": {"norm": 0.1, "relative": 0.5, "shape": [576]}}
    for layer in range(LAYERS):
        for number, (part, shape) in enumerate(SHAPES.items()):
            known = layer % 2 == 0
            tensors[f"model.layers.{layer}.{part}.weight"] = {
                "norm": 0.1 + 0.01 * layer,
                "relative": 1e-4 * (1 + layer) * (1 + number),
                "shape": list(shape),
                "entropy_rank": 10.0 + layer + number if known else None,
                "rank_90": 5 + number if known else None,
                "rank_reason": None if known else "it would have taken too long",
            }
    return {"parent": {"norm": 2.3, "relative": 1e-3, "tensors": tensors}, "pretrained": None}


@pytest.fixture
def changed_run(cast: SimpleNamespace, language_model: Any, batches: list[Any]) -> Any:  # noqa: F811
    """A run that has ended, with its output's record on disk."""
    from ftportal.checkpoints.models import Checkpoint
    from ftportal.jobs.models import JobState
    from ftportal.runs.services import run_submit
    from tests.ftportal.house import measure

    run = run_submit(
        submitter=cast.tina,
        name="Changed",
        parent=language_model.pretrained,
        mixture=[(batch, 1.0) for batch in batches],
        recipe={},
    )
    run.output = Checkpoint.objects.create(
        language_model=language_model,
        parent=run.parent,
        name="Changed",
        path="checkpoints/changed",
        manifest_hash="c" * 64,
        size_bytes=1,
    )
    run.summary = {"displacement": 2.3, "displacement_relative": 1e-3}
    run.summary |= {"entropy_rank": 27.25, "rank_90": 8.5}
    run.job.state, run.job.finish_handled = JobState.SUCCEEDED, True
    run.job.save()
    run.save()
    run.output.directory.mkdir(parents=True)
    (run.output.directory / "displacement.json").write_text(json.dumps(record()))
    for name in ("loss_nats", "displacement", "sharpness", "middle_rank_90"):
        measure(run, {step: 1.0 / step for step in range(1, 40)}, name)
    return run


@pytest.mark.parametrize("width", [1280, 390])
def test_every_cell_tells_its_matrix(
    page_for: Callable[..., Page],
    cast: SimpleNamespace,
    changed_run: Any,
    complaints: list[str],
    width: int,
) -> None:
    page = page_for(cast.otto, viewport={"width": width, "height": 1400})
    page.goto(f"/runs/{changed_run.pk}/")
    section = page.locator("#changes")
    expect(section).to_contain_text("Ranks measured: 105 of 210 matrices")
    expect(section.locator("[data-chart][data-drawn]")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    def seen(number: int) -> set[str]:
        chart = section.locator("[data-chart]").nth(number)
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box is not None
        titles = set()
        for across in range(30, 96, 3):
            page.mouse.move(box["x"] + across / 100 * box["width"], box["y"] + 20)
            tip = chart.locator(".chart-tip")
            if tip.is_visible():
                titles.add(tip.inner_text())
        return titles

    moved = seen(0)
    assert {text.split("\n")[0].split(",")[1] for text in moved} == {" q_proj"}
    assert len(moved) > 10
    assert any("% of its norm" in text and "576 × 576" in text for text in moved)
    ranks = seen(1)
    assert any("of at most 576" in text for text in ranks)
    assert any("not measured: it would have taken too long" in text for text in ranks)
    section.locator("summary").first.click()
    expect(section.locator("tbody tr").first).to_contain_text("model.norm.weight")
    assert complaints == []
