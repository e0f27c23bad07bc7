"""The memory of a run, told before it starts and compared with what its worker has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import language_model_register
from ftportal.datasets.models import Batch
from ftportal.runs.memory import workload_of
from ftportal.runs.models import Run
from ftportal.runs.planning import Plan, plan
from ftportal.runs.recipes import config_build
from ftportal.runs.selectors import outcome_rows
from tests.ftportal.house import measure
from tests.tiny_model import tiny_model_write
from training.ahead.decoder import DecoderShape
from training.ahead.memory import PROGRAM_BYTES

pytestmark = pytest.mark.django_db
RECIPE: dict[str, Any] = {"method": {"name": "adamw"}}
PROGRAM_WORDS = f"the program itself {PROGRAM_BYTES >> 20} MB"


@pytest.fixture
def planned(parent: Checkpoint, talks: Batch) -> Callable[..., Plan]:
    """`planned(**recipe)`: the plan of a run on one batch."""

    def make(**recipe: Any) -> Plan:
        return plan(parent=parent, mixture=[(talks, 1.0)], recipe={**RECIPE, **recipe})

    return make


def test_a_plan_tells_the_peak_and_what_it_is_for(planned: Callable[..., Plan]) -> None:
    result = planned()
    assert result.memory_bytes is not None
    assert result.memory_bytes > PROGRAM_BYTES
    assert result.memory_basis.startswith(f"most of it for {PROGRAM_WORDS}, ")
    assert not any("may run out" in one.message for one in result.warnings)


def test_the_last_worker_of_the_model_is_asked(
    planned: Callable[..., Plan], ended: Callable[..., Run]
) -> None:
    run = ended("succeeded")
    run.summary = {"memory_free_bytes": 300 << 20, "device": "cpu"}
    run.save()
    (warning,) = [one for one in planned().warnings if "may run out" in one.message]
    assert "the worker of Session had 300 MB free" in warning.message
    run.summary |= {"device": "cuda:0"}
    run.save()
    result = planned()  # on a GPU the process itself does not count, and all else is tiny here
    assert result.memory_bytes is not None
    assert result.memory_bytes < 100 << 20


def test_each_method_says_whether_it_fits_and_what_would(
    planned: Callable[..., Plan],
    ended: Callable[..., Run],
    tina: Client,
    form: dict[str, Any],
) -> None:
    run = ended("succeeded")
    run.summary = {"memory_free_bytes": 1 << 40, "device": "cuda:0"}
    run.save()
    result = planned()
    needs = {one.name: one.needed_bytes or 0 for one in result.memory_methods}
    quantised = {f"LoRA, base in {bits} bit" for bits in (8, 4)}
    assert set(needs) == {"APOLLO", "APOLLO-Mini", "LoRA", "AdamW"} | quantised
    assert {one.fits for one in result.memory_methods} == {"yes"}
    assert needs["AdamW"] == result.memory_bytes
    assert needs["AdamW"] > needs["LoRA"]
    run.summary |= {"memory_free_bytes": needs["AdamW"] - 1}
    run.save()
    result = planned()
    fits = {one.name: one for one in result.memory_methods}
    assert fits["AdamW"].too_large and not fits["LoRA"].too_large
    assert fits["AdamW"].chosen and result.chosen_is_too_large
    assert fits["AdamW"].cure.startswith("Fits in bfloat16: ")
    assert "memory_methods" not in result.to_json()
    form |= {"max_example_tokens": "4096"}  # as in the plan
    page = tina.post(reverse("runs:run_preview"), form).content.decode()
    assert "Memory of each method" in page
    assert "<td>no</td>" in page and "Fits in bfloat16: " in page
    assert "the worker of Session had" in page and "free on each card" in page


def test_before_a_model_has_a_run_the_last_run_of_another_tells(
    planned: Callable[..., Plan], ended: Callable[..., Run], tmp_path: Path
) -> None:
    other = language_model_register(
        name="Other",
        source="made by the tests",
        note="",
        licence="Apache-2.0",
        directory=tiny_model_write(tmp_path / "other", seed=1),
    )
    run = ended("succeeded")
    run.summary = {"memory_free_bytes": 77 << 20, "device": "cuda:0"}
    run.parent = other.pretrained
    run.save()
    expected = "the worker of the last run had 77 MB free on each card"
    assert planned().memory_place == expected


def test_processes_without_gpus_share_the_machines_memory(
    planned: Callable[..., Plan], ended: Callable[..., Run]
) -> None:
    one = planned().memory_bytes
    assert one is not None
    run = ended("succeeded")
    run.summary = {"memory_free_bytes": int(1.5 * one), "device": "cpu"}
    run.save()
    assert not any("may run out" in warning.message for warning in planned().warnings)
    two = planned(ranks={"processes": 2})
    assert any("may run out" in warning.message for warning in two.warnings)
    assert two.memory_basis.startswith("in each of 2 processes, most of it for ")


def test_auto_means_as_many_cards_as_the_last_run_had(
    planned: Callable[..., Plan], ended: Callable[..., Run]
) -> None:
    run = ended("succeeded")
    run.summary = {"memory_free_bytes": 1 << 40, "device": "cuda:0", "processes": 4}
    run.recipe |= {"ranks": {"processes": "auto"}}
    run.save()
    auto, four = (planned(ranks={"processes": count, "sharding": "fsdp2"}) for count in ("auto", 4))
    assert auto.memory_bytes == four.memory_bytes
    assert auto.memory_basis.startswith("on each card, ")


def test_a_model_of_an_unknown_kind_is_not_estimated(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = DecoderShape.from_config
    monkeypatch.setattr(DecoderShape, "from_config", lambda _: read({"hidden_size": 8}))
    result = planned()
    assert result.memory_bytes is None
    assert "num_attention_heads" in result.memory_basis


def test_the_longest_example_and_decision_decide(
    parent: Checkpoint, batch_of: Callable[..., Batch]
) -> None:
    def workload(batch: Batch, **recipe: Any) -> tuple[int, int]:
        mixture = [(batch, 1.0)]
        config = config_build(parent=parent, mixture=mixture, recipe={**RECIPE, **recipe})
        result = workload_of(mixture, config)
        return result.longest_tokens, result.longest_decision_tokens

    kept = batch_of("Kept", token_length_max=900, decision_length_max=70, decision_count=16)
    assert workload(kept) == (900, 160)  # short decisions of an example share a backward
    assert workload(kept, max_example_tokens=512) == (512, 160)
    single = batch_of("Single", token_length_max=900, decision_length_max=70, decision_count=8)
    assert workload(single) == (900, 70)
    assert workload(kept, context_frozen=False) == (900, 160)  # twice the mean of an example
    assert workload(batch_of("Earlier")) == (4096, 160)


def test_form_and_page_show_it(
    tina: Client, form: dict[str, Any], submit: Callable[..., Run]
) -> None:
    page = tina.post(reverse("runs:run_preview"), form).content.decode()
    assert "Memory at its peak" in page
    assert f"Memory: most of it for {PROGRAM_WORDS}" in page
    run = submit()
    measure(run, {1: 1.0})
    measure(run, {1: float(700 << 20)}, "memory_bytes")
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert f"<small>estimated {(PROGRAM_BYTES >> 20) // 100}" in page  # hardly more than that
    (row,) = [row for row in outcome_rows(run) if row.label.startswith("Memory")]
    assert row.measured.startswith("700.0")
