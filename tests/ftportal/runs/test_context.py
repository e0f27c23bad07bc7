"""How a run walks through its conversations: chosen in the form, said in words, forecast."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.datasets.models import Batch
from ftportal.runs.models import Run
from ftportal.runs.planning import plan
from ftportal.runs.recipes import recipe_words

ALONE = {
    "watch": {"watch_every_steps": 0},
    "diagnostics": {"change_rank": False, "gradient_cosine": False, "sharpness": False},
}
"""Nothing but training takes time that is counted."""


@pytest.mark.django_db
def test_the_form_takes_a_window_and_says_what_cannot_be(
    tina: Client, form: dict[str, Any]
) -> None:
    page = reverse("runs:run_new")
    assert "6N(W + D)" in tina.get(page).content.decode()
    form |= {"examples_per_step": "4", "grad_window": "64"}
    refused = tina.post(page, {**form, "context_frozen": ""})
    assert "no meaning where all of the context gets gradient" in refused.content.decode()
    refused = tina.post(page, {**form, "conversations_at_once": "5"})
    assert "more than the 4 examples of a step" in refused.content.decode()
    assert tina.post(page, {**form, "conversations_at_once": "4"}).status_code == 302
    run = Run.objects.get()
    assert run.recipe["context"] == {"grad_window": 64, "conversations_at_once": 4}
    words = dict(recipe_words(run.recipe))
    assert words["Context"] == "frozen but for the last 64 tokens; 4 conversations at once"


def test_words_of_runs_before_there_was_a_choice() -> None:
    assert dict(recipe_words({"context_frozen": True}))["Context"] == "frozen: no gradient"
    assert dict(recipe_words({"context_frozen": False}))["Context"] == "with gradient"


@pytest.mark.django_db
def test_the_forecast_of_time_knows_the_window(
    ended: Callable[..., Run], batch_of: Callable[..., Batch]
) -> None:
    """60 tokens of context and 80 of decision in 2 decisions: by hand, in 2N operations."""
    batch = batch_of("Two", decision_count=16)
    run = ended("succeeded", name="Before")
    recipe = {"method": {"name": "adamw"}, **ALONE}

    def seconds(window: int, **changes: object) -> float:
        changed = {**recipe, "context": {"grad_window": window}, **changes}
        return plan(parent=run.parent, mixture=[(batch, 1.0)], recipe=changed).seconds

    plain = 60 + 3 * 80
    assert seconds(10) / seconds(0) == pytest.approx((2 * 20 + 3 * (2 * 10 + 80)) / plain)
    everything = 3 * (30 + 40) + 3 * (100 + 40)
    assert seconds(1000) / seconds(0) == pytest.approx(everything / plain)
    assert seconds(0, context_frozen=False) / seconds(0) == pytest.approx(3 * 140 / plain)

    run.summary = {"tokens_per_second": 70.0}
    run.save()
    assert seconds(0) == pytest.approx(8 * 140 / 70)
    assert seconds(1000) == pytest.approx(8 * 140 / 70 * everything / plain)
