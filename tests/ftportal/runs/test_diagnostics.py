"""What a run measures beside its loss: chosen in the form, said in words, drawn with how often."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.runs.drawing import sampled_words
from ftportal.runs.drawings import drawings
from ftportal.runs.models import Run
from ftportal.runs.recipes import diagnostics_words
from tests.ftportal.house import measure

pytestmark = pytest.mark.django_db
CHARTS = {"sparsity", "cosine", "sharpness", "rank"}


def test_the_form_says_what_is_measured(tina: Client, form: dict[str, Any]) -> None:
    page = tina.get(reverse("runs:run_new")).content.decode()
    for field in ("gradient_sparsity", "gradient_cosine", "change_rank", "sharpness"):
        assert re.search(rf'name="{field}"[^>]*checked', page)
    form |= {"change_rank": "on", "diagnostics_share": "2"}
    refused = tina.post(reverse("runs:run_new"), form)
    assert "at most 1, such as 0.05" in refused.content.decode()
    assert tina.post(reverse("runs:run_new"), {**form, "diagnostics_share": ""}).status_code == 302
    run = Run.objects.get()
    assert run.recipe["diagnostics"] == {
        "gradient_sparsity": False,
        "gradient_cosine": False,
        "change_rank": True,
        "sharpness": False,
        "diagnostics_share": 0.05,
    }
    assert CHARTS & {one.key for one in drawings(run)} == {"rank"}
    again = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "rank of the change; each at most 5 % of the time" in again
    assert "sharpness=False" in again


def test_a_chart_says_how_often_it_was_measured(submit: Callable[..., Run]) -> None:
    run = submit()
    assert {one.key for one in drawings(run)} >= CHARTS
    assert sampled_words(run, "sharpness") == ""

    def keep(name: str, steps: Any) -> None:
        measure(run, dict.fromkeys(steps, 1.0), name)

    keep("loss_nats", range(1, 41))
    keep("sharpness", [1])
    assert "Measured once in 40 steps: it may take 5 % of" in sampled_words(run, "sharpness")
    keep("sharpness", [20, 40])
    assert "Measured 3 times in 40 steps" in sampled_words(run, "sharpness")
    keep("gradient_entries_small_share", range(1, 41))
    assert sampled_words(run, "gradient_entries_small_share") == "Measured after every step."


def test_a_chart_says_why_nothing_was_measured(
    submit: Callable[..., Run], ended: Callable[..., Run]
) -> None:
    live, done = submit("Live"), ended("succeeded", name="Done")
    for run in (live, done):
        measure(run, {1: 1.0})
    assert sampled_words(live, "gradient_cosine", "Too short.") == ""
    assert sampled_words(done, "gradient_cosine", "Too short.") == "Too short."
    full = submit("Full", context_frozen=False)
    assert "cosine" not in {one.key for one in drawings(full)}


def test_runs_of_earlier_versions_have_no_such_charts(submit: Callable[..., Run]) -> None:
    run = submit()
    del run.recipe["diagnostics"]
    assert not CHARTS & {one.key for one in drawings(run)}


def test_what_is_measured_in_words() -> None:
    names = ("gradient_sparsity", "gradient_cosine", "change_rank", "sharpness")
    nothing = dict.fromkeys(names, False)
    assert diagnostics_words(nothing) == "the loss and the displacement only"
    assert "each at most 0.5 % of the time" in diagnostics_words({"diagnostics_share": 0.005})
