"""The form of a run and its preview: what it begins with, takes, shows beforehand and refuses."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.runs.models import Run
from ftportal.runs.recipes import recipe_words
from ftportal.runs.selectors import run_again_url

pytestmark = pytest.mark.django_db


def test_the_form_is_careful_by_default(
    tina: Client, parent: Checkpoint, talks: Batch, general: Batch
) -> None:
    page = tina.get(reverse("runs:run_new")).content.decode()
    assert re.search(r'value="apollo"[^>]*checked', page)
    assert re.search(r'name="learning_rate" value="1e-5"', page)
    assert re.search(r'name="context_frozen"[^>]*checked', page)
    assert re.search(r'value="ftportal" selected', page)
    assert "non-commercial" not in page
    assert "Talks" in page
    assert "General mix" in page


def test_the_form_is_filled_from_the_address(
    tina: Client, parent: Checkpoint, talks: Batch, general: Batch
) -> None:
    query = f"?parent={parent.pk}&batch={talks.pk}&weight_{general.pk}=0.5&learning_rate=3e-4"
    page = tina.get(reverse("runs:run_new") + query + "&method=lora&seed=7").content.decode()
    assert re.search(rf'name="weight_{talks.pk}"[^>]*value="1"', page)
    assert re.search(rf'name="weight_{general.pk}"[^>]*value="0.5"', page)
    assert re.search(r'name="learning_rate" value="3e-4"', page)
    assert re.search(r'value="lora"[^>]*checked', page)
    assert re.search(r'name="seed" value="7"', page)


@pytest.mark.parametrize("query", ["?parent=abc", "?parent=99999999999999999999", "?batch=x"])
def test_an_odd_address_still_gives_the_form(tina: Client, talks: Batch, query: str) -> None:
    assert tina.get(reverse("runs:run_new") + query).status_code == 200


def test_a_valid_form_starts_the_run(tina: Client, form: dict[str, Any]) -> None:
    response = tina.post(reverse("runs:run_new"), form)
    run = Run.objects.get()
    assert response["Location"] == reverse("runs:run", args=[run.pk])
    assert run.name == "Monday"
    assert run.recipe["max_gradient_norm"] == 1.0
    assert run.recipe["context_frozen"] is True
    assert sorted(part.weight for part in run.mixture.all()) == [1.0, 3.0]


def test_what_few_people_change_reaches_the_recipe_and_comes_back(
    tina: Client, form: dict[str, Any]
) -> None:
    rare = {"save_every_steps": "7", "device": "cpu", "threads": "2"}
    lora = {"method": "lora", "rank": "4", "lora_alpha": "6"}
    assert tina.post(reverse("runs:run_new"), {**form, **rare, **lora}).status_code == 302
    run = Run.objects.get()
    assert (run.recipe["save_every_steps"], run.recipe["threads"]) == (7, 2)
    assert run.recipe["method"]["lora_alpha"] == 6.0
    words = dict(recipe_words(run.recipe))
    assert words["Computes on"] == "the processor, 2 threads"
    again = tina.get(run_again_url(run)).content.decode()
    assert re.search(r'name="lora_alpha" value="6.0"', again)
    other = parse_qs(urlsplit(run_again_url(run, method="apollo")).query)
    assert "lora_alpha" not in other
    for field in ("save_every_steps", "device", "threads"):  # of forms that were open before
        rare[field] = ""
    assert tina.post(reverse("runs:run_new"), {**form, **rare, "name": "Two"}).status_code == 302
    assert Run.objects.get(name="Two").recipe["save_every_steps"] == 20


def test_loras_base_is_held_in_few_bits_where_that_is_chosen(
    tina: Client, form: dict[str, Any]
) -> None:
    new, lora = reverse("runs:run_new"), {"method": "lora", "base_bits": "4"}
    assert tina.post(new, {**form, **lora}).status_code == 302
    run = Run.objects.get()
    assert run.recipe["method"]["base_bits"] == 4
    words = dict(recipe_words(run.recipe))
    assert "in 4 bit; merged into the weights as the parent" in words["LoRA's base is held"]
    again = tina.get(run_again_url(run)).content.decode()
    assert re.search(r'<option value="4" selected', again)
    assert "base_bits" not in parse_qs(urlsplit(run_again_url(run, method="apollo")).query)
    preview = tina.post(reverse("runs:run_preview"), {**form, **lora}).content.decode()
    assert "needs a worker with a CUDA GPU" in preview
    assert "LoRA, base in 8 bit" in preview and "It needs a worker with a CUDA GPU." in preview
    # The list is not in sight with another method, and says nothing then.
    other = {**form, "method": "apollo", "base_bits": "4", "name": "Two"}
    assert tina.post(new, other).status_code == 302
    assert Run.objects.get(name="Two").recipe["method"]["base_bits"] is None
    refused = tina.post(new, {**form, **lora, "device": "cpu"})
    assert refused.status_code == 422
    assert "A base in 4 bit needs a CUDA GPU, and device is cpu" in refused.content.decode()
    shared = {"processes": "2", "sharding": "fsdp2"}
    assert (
        "holds all of it in every process"
        in tina.post(new, {**form, **lora, **shared}).content.decode()
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("learning_rate", "0", "Write a number above 0"),
        ("learning_rate", "abc", "Write a number above 0"),
        ("learning_rate", "NaN", "Write a number above 0"),
        ("learning_rate", "1e999", "Write a number above 0"),
        ("learning_rate", "-1", "Write a number above 0"),
        ("learning_rate", "", "Write a number above 0"),
        ("seed", "-1", "whole number of at least 0"),
        ("seed", "9" * 5000, "whole number"),
        ("epochs", "1.5", "whole number of at least 1"),
        ("epochs", "1000000000", "steps"),
        ("rank", "8", "no meaning for adamw"),
        ("warmup_steps", "x", "whole number"),
        ("weight_decay", "2", "from 0 to 1"),
        ("max_gradient_norm", "0", "above 0"),
        ("method", "sgd", "valid choice"),
        ("parent", "12345", "Choose another one"),
        ("name", "", "Give the run a name"),
    ],
)
def test_a_wrong_field_is_named(
    tina: Client, form: dict[str, Any], field: str, value: str, words: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, field: value})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert "The run was not started" in response.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize("weight", ["abc", "nan", "-1", "1e999", "inf"])
def test_a_wrong_weight_is_named(
    tina: Client, form: dict[str, Any], talks: Batch, weight: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, f"weight_{talks.pk}": weight})
    assert response.status_code == 422
    assert "0 leaves the batch out" in response.content.decode()


def test_no_batch_is_named(
    tina: Client, form: dict[str, Any], talks: Batch, general: Batch
) -> None:
    empty = {**form, f"weight_{talks.pk}": "0", f"weight_{general.pk}": ""}
    response = tina.post(reverse("runs:run_new"), empty)
    assert response.status_code == 422
    assert "No batch was chosen" in response.content.decode()


def test_the_preview_tells_steps_time_displacement_and_shares(
    tina: Client, form: dict[str, Any], talks: Batch
) -> None:
    page = tina.post(
        reverse("runs:run_preview"), form, headers={"HX-Request": "true"}
    ).content.decode()
    assert "<html" not in page
    assert "for 16 steps" in page
    assert "Assumed" in page
    assert "Displacement" in page
    assert re.search(rf'id="share-{talks.pk}"[^>]*>75 %<', page)
    assert not Run.objects.exists()


def test_the_preview_warns(tina: Client, form: dict[str, Any], general: Batch) -> None:
    risky = {**form, "learning_rate": "3e-4", f"weight_{general.pk}": "", "name": ""}
    page = tina.post(reverse("runs:run_preview"), risky).content.decode()
    assert "outside 1e-5 to 5e-5" in page
    assert "0 % of the examples are general" in page


@pytest.mark.parametrize(
    ("method", "implementation", "noted"),
    [
        ("apollo", "apollo-torch", True),
        ("apollo", "ftportal", False),
        ("adamw", "apollo-torch", False),
    ],
)
def test_only_the_reference_has_the_note_of_its_licence(
    tina: Client, form: dict[str, Any], method: str, implementation: str, noted: bool
) -> None:
    chosen = {**form, "method": method, "implementation": implementation}
    page = tina.post(reverse("runs:run_preview"), chosen).content.decode()
    assert ("non-commercial use only" in page) is noted
    tina.post(reverse("runs:run_new"), chosen)
    kept = Run.objects.get().recipe["method"]["implementation"]
    assert kept == (None if method == "adamw" else implementation)
    words = tina.get(reverse("runs:run", args=[Run.objects.get().pk])).content.decode()
    assert ("CC-BY-NC 4.0" in words) is noted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": "abc"}, "Learning rate"),
        ({"rank": "8"}, "no meaning"),
        ({"epochs": "4000000000"}, "steps"),
        ({"parent": "x"}, "Start from"),
    ],
)
def test_the_preview_names_what_is_wrong(
    tina: Client, form: dict[str, Any], changes: dict[str, str], words: str
) -> None:
    response = tina.post(reverse("runs:run_preview"), {**form, **changes})
    assert response.status_code == 200
    assert words in response.content.decode()


def test_the_preview_brings_the_batches_of_another_model(
    tina: Client, form: dict[str, Any], talks: Batch, general: Batch
) -> None:
    key = f"{general.pk},{talks.pk}"
    same = tina.post(reverse("runs:run_preview"), {**form, "rows_shown": key}).content.decode()
    assert 'id="mixture"' not in same
    other = tina.post(reverse("runs:run_preview"), {**form, "rows_shown": "99"}).content.decode()
    assert 'id="mixture"' in other
