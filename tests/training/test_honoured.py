"""Every setting is honoured, or refused or warned of by name: combinations that leave one idle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checks import ConfigError
from engine.process import BAD_INPUT, DONE
from tests.training.toys import batch_ingest, conversation, events_of
from training.__main__ import main
from training.ahead.warnings import data_warnings, recipe_warnings
from training.config import RunConfig, example_config

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]


def config_of(**changes: Any) -> RunConfig:
    return RunConfig.from_json({**example_config(), **changes})


def warned(directory: Path) -> dict[str, str]:
    events = [event for event in events_of(directory) if event["event"] == "warning"]
    return {event["where"]: event["message"] for event in events}


def test_with_label_masking_there_is_no_frozen_gradient_to_compare() -> None:
    def fields(**diagnostics: Any) -> set[str]:
        recipe = config_of(context_frozen=False, diagnostics=diagnostics)
        return {one.field for one in recipe_warnings(recipe)}

    assert "gradient_cosine" in fields()
    assert "gradient_cosine" not in fields(gradient_cosine=False)
    assert not recipe_warnings(config_of())


@pytest.mark.parametrize("name", ["watch_probe_tokens", "watch_kl_tokens"])
def test_how_much_is_watched_has_no_meaning_where_nothing_is(name: str) -> None:
    assert config_of(probes=[], watch={"watch_every_steps": 0}).watch.watch_probe_tokens == 512
    with pytest.raises(ConfigError) as caught:
        config_of(probes=[], watch={"watch_every_steps": 0, name: 64})
    assert caught.value.where == f"watch.{name}"


def test_processes_have_fewer_conversations_than_a_step() -> None:
    def fields(together: int | None, processes: int) -> set[str]:
        recipe = config_of(
            examples_per_step=4,
            context={"conversations_at_once": together},
            ranks={"processes": processes},
        )
        return {one.field for one in recipe_warnings(recipe)}

    assert "conversations_at_once" in fields(3, 2)
    assert "conversations_at_once" not in fields(2, 2)
    assert "conversations_at_once" not in fields(4, 1)
    assert "conversations_at_once" not in fields(None, 2)


@pytest.mark.parametrize(
    ("changes", "facts", "field"),
    [
        ({"examples_per_step": 31}, {"example_count": 30}, "examples_per_step"),
        ({"examples_per_step": 30}, {"example_count": 30}, None),
        ({"method": {"name": "apollo", "rank": 65}}, {}, "rank"),
        ({"method": {"name": "apollo", "rank": 64}}, {}, None),
        ({"method": {"name": "apollo"}}, {}, None),  # 256 wherever a matrix has it
        ({"defences": {"ewc_strength": 1.0}}, {"general_count": 31}, "ewc_examples"),
        ({"defences": {"ewc_strength": 1.0}}, {"general_count": 32}, None),
        ({}, {"general_count": 0}, None),
    ],
)
def test_more_than_data_and_model_have_is_named(
    changes: dict[str, Any], facts: dict[str, int], field: str | None
) -> None:
    shapes = {"model.layers.0.mlp.up_proj.weight": (256, 64), "model.norm.weight": (64,)}
    result = data_warnings(config_of(**changes), tensor_shapes=shapes, **facts)
    assert [one.field for one in result] == ([] if field is None else [field])


def test_the_engine_says_what_it_cannot_honour(recipe: Recipe, run_directory: MakeRun) -> None:
    method = {"name": "apollo", "rank": 5000}
    changes = {"method": method, "context_frozen": False, "learning_rate": 1e-5}
    directory = run_directory(recipe, examples_per_step=64, **changes)
    assert main([str(directory)]) == DONE
    result = warned(directory)
    assert "gradient_cosine" in result
    assert "one step of 10" in result["examples_per_step"]
    assert "5,000" in result["rank"]


def test_a_batch_that_no_step_learns_from_is_named(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, tiny_model_directory: Path
) -> None:
    path = batch_ingest(tmp_path / "few", tiny_model_directory, [conversation(40)])
    few = {"key": "b2", "name": "Few", "kind": "dream", "path": str(path), "weight": 0.1}
    batches = [{**recipe["batches"][0], "weight": 0.9}, few]
    directory = run_directory(recipe, batches=batches, max_steps=1)
    assert main([str(directory)]) == DONE
    assert "nothing of Few is learnt" in warned(directory)["max_steps"]


def test_a_warm_up_that_leaving_out_makes_too_long_is_refused(
    recipe: Recipe, run_directory: MakeRun, tiny_model_directory: Path
) -> None:
    """The threshold lies above all examples' likeliest tokens but the highest."""
    from transformers import AutoModelForCausalLM

    from corpus.conversations import ChatEncoder
    from training.defences.likelihood import reading, target_log_probabilities
    from training.samples import curriculum_build

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    samples = curriculum_build(RunConfig.from_json(recipe), encoder, 2048).samples
    with reading(model):
        cpu = torch.device("cpu")
        best = sorted(target_log_probabilities(model, s.encoded, cpu).max() for s in samples)
    between = ((best[-1] + best[-2]) / 2).exp().item()
    defences = {"mask_below_probability": between}
    directory = run_directory(recipe, defences=defences, warmup_steps=4)
    assert main([str(directory)]) == BAD_INPUT
    assert events_of(directory)[-1]["where"] == "warmup_steps"
