"""How many processes share a run: typed in the form, refused, warned of, said in words."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.runs.models import Run
from ftportal.runs.recipes import ranks_words, recipe_words

pytestmark = pytest.mark.django_db


def test_the_form_takes_a_number_or_auto_and_says_what_cannot_be(
    tina: Client, form: dict[str, Any]
) -> None:
    form |= {"method": "apollo", "examples_per_step": "2"}

    def refused(**changes: str) -> str:
        answer = tina.post(reverse("runs:run_new"), {**form, **changes})
        assert answer.status_code == 422
        return answer.content.decode()

    for wrong in ("0", "-2", "2.5", "many", "²"):
        assert "Write a whole number of at least 1, or auto." in refused(processes=wrong)
    assert "One process has nobody to share the model with." in refused(sharding="fsdp2")
    adapted = {"method": "lora", "l2_strength": "1"}
    said = refused(processes="2", sharding="fsdp2", **adapted)
    assert "fsdp2 here: the pull toward the parent needs the whole adapter of lora." in said
    assert tina.post(reverse("runs:run_new"), {**form, "processes": " Auto "}).status_code == 302
    run = Run.objects.get()
    assert run.recipe["ranks"] == {"processes": "auto", "sharding": "none"}
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "one for each GPU; each holds the whole model" in page
    assert "processes=auto" in page, "a copy of the run begins with it"


def test_processes_in_words() -> None:
    assert "Processes" not in dict(recipe_words({})), "runs of earlier versions have one"
    assert "Processes" not in dict(recipe_words({"ranks": {"processes": 1, "sharding": "none"}}))
    assert ranks_words({"processes": 4, "sharding": "fsdp2"}) == (
        "4; each holds a part of the model (FSDP2)"
    )
