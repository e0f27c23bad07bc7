"""Blends in a real Chromium: asked for on a page, made by the real engine, drawn as a curve."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.ftportal.dashboard import world

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RIGHT = {"local_code": [1] * 8 + [0] * 2, "local_language": [1] * 10}
FORGOT = {"local_code": [0] * 8 + [1] * 2, "local_language": [1] * 10}


@pytest.fixture
def forgetful(language_model: Any, tmp_path: Path) -> SimpleNamespace:
    """A child of the tiny model with real weights, which was measured and has forgotten."""
    from engine.manifest import manifest_write
    from ftportal.checkpoints.services import checkpoint_register
    from tests.tiny_model import tiny_model_write

    output = tmp_path / "output"
    tiny_model_write(output, seed=5)
    manifest_write(output)
    candidate = checkpoint_register(
        parent=language_model.pretrained,
        name="Reckless",
        directory=output,
        displacement_pretrained=9.0,
    )
    suite = world.suite_make(sets={"Manual": "prose"})
    type(suite).objects.update(is_default=False)  # the test measures by itself
    nats = [200.0 + number for number in range(10)]
    before = world.evaluation_make(
        checkpoint=language_model.pretrained, suite=suite, right=RIGHT, nll={"Manual": nats}
    )
    after = world.evaluation_make(
        checkpoint=candidate,
        suite=suite,
        right=FORGOT,
        nll={"Manual": [one + 50 + one % 7 for one in nats]},
    )
    world.judged(before, after)
    return SimpleNamespace(candidate=candidate, suite=suite, nats=nats)


def test_a_blend_is_asked_for_made_and_drawn(
    forgetful: SimpleNamespace,
    cast: SimpleNamespace,
    page_for: Callable[..., Page],
    complaints: list[str],
) -> None:
    from ftportal.blends.models import Blend
    from ftportal.jobs.supervisor import job_run_now

    page = page_for(cast.tina, viewport={"width": 1280, "height": 900})
    page.goto(reverse("checkpoints:checkpoint", args=[forgetful.candidate.pk]))
    page.get_by_role("link", name="Blend", exact=True).click()
    field = page.get_by_label("How far from the parent")
    expect(field).to_have_value("25, 50, 75")
    field.fill("150")
    page.get_by_role("button", name="Make these blends").click()
    expect(page.locator(".error-text")).to_contain_text("above 0 and below 100")
    field.fill("50")
    page.get_by_role("button", name="Make these blends").click()
    expect(page.locator("main")).to_contain_text("Reckless, 50 % blend")
    expect(page.locator("main .badge", has_text="Waiting").first).to_be_visible()
    blend = Blend.objects.get()
    job_run_now(blend.job)
    blend.refresh_from_db()
    assert blend.result is not None
    world.evaluation_make(
        checkpoint=blend.result,
        suite=forgetful.suite,
        right=RIGHT,
        nll={"Manual": [one + 1 + one % 3 for one in forgetful.nats]},
    )
    # The page polls its job and loads again when that has ended.
    expect(page.get_by_text("Being made")).to_have_count(0)
    expect(page.locator("[data-chart][data-drawn]")).to_have_count(2)
    row = page.get_by_role("row").filter(has_text="Reckless, 50 % blend")
    expect(row).to_contain_text("0 lost, 0 gained")
    row.get_by_role("link", name="Reckless, 50 % blend").click()
    expect(page.locator("main")).to_contain_text("50 % of the way from")
    # A refused form answers 422, which browsers note.
    assert [one for one in complaints if "422" not in one] == []
