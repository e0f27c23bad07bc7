"""Defences against forgetting: from the form into the recipe, and what the pages say of them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.datasets.models import Batch
from ftportal.runs.models import Run
from ftportal.runs.selectors import run_again_url
from tests.ftportal.house import measure

pytestmark = pytest.mark.django_db


@pytest.fixture
def form(form: dict[str, Any]) -> dict[str, Any]:
    """A run with EWC, as the form sends it."""
    return {
        **form,
        "l2_strength": "0.1",
        "ewc_strength": "2",
        "ewc_variant": "diagonal",
        "ewc_examples": "",
        "mask_below_probability": "0.001",
    }


def test_the_form_gives_the_recipe_its_defences(tina: Client, form: dict[str, Any]) -> None:
    assert tina.post(reverse("runs:run_new"), form).status_code == 302
    run = Run.objects.get()
    kept = run.recipe["defences"]
    assert kept["l2_strength"] == 0.1
    assert (kept["ewc_strength"], kept["ewc_variant"], kept["ewc_examples"]) == (2, "diagonal", 32)
    assert kept["mask_below_probability"] == 0.001
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "below probability 0.001" in page
    assert "strength 2, each weight, 32 general examples" in page
    again = tina.get(run_again_url(run, ewc_strength=5)).content.decode()
    assert 'name="ewc_strength" value="5"' in again
    assert "<details open>" in again, "what is unusual is in sight"


def test_without_a_strength_the_variant_means_nothing(tina: Client, form: dict[str, Any]) -> None:
    off = {**form, "l2_strength": "", "ewc_strength": ""}
    assert tina.post(reverse("runs:run_new"), off).status_code == 302
    kept = Run.objects.get().recipe["defences"]
    assert {value for name, value in kept.items() if name.startswith(("l2", "ewc"))} == {None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"l2_strength": "0"}, "above 0"),
        ({"l2_strength": "much"}, "above 0, or leave it empty"),
        ({"ewc_examples": "0"}, "at least 1"),
        ({"mask_below_probability": "2"}, "at most 1"),
        ({"ewc_strength": "", "ewc_examples": "8"}, "no meaning without ewc_strength"),
    ],
)
def test_a_wrong_defence_is_named(
    tina: Client, form: dict[str, Any], change: dict[str, str], words: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, **change})
    assert response.status_code == 422
    assert words in response.content.decode()


def test_ewc_without_general_examples_is_refused_in_the_form(
    tina: Client, form: dict[str, Any], general: Batch
) -> None:
    narrow = {**form, f"weight_{general.pk}": ""}
    page = tina.post(reverse("runs:run_preview"), narrow).content.decode()
    assert "no batch is general" in page
    response = tina.post(reverse("runs:run_new"), narrow)
    assert response.status_code == 422
    assert "Add a batch of kind general" in response.content.decode()


def test_what_the_defences_add_is_drawn(tina: Client, submit: Callable[..., Run]) -> None:
    title = "What the defences add to the loss"
    plain = submit("Plain")
    assert title not in tina.get(reverse("runs:run", args=[plain.pk])).content.decode()
    run = submit("Held", defences={"l2_strength": 0.5})
    measure(run, {2: 0.25}, "penalty_nats/l2")
    assert title in tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    result = tina.get(reverse("runs:metrics", args=[run.pk]) + "?chart=penalty").json()
    assert result["series"] == {"L2": {"x": [2], "y": [0.25]}}
