"""The model card: complete, and unmoved by what people call their batches."""

from typing import Any

import pytest

from training.card import model_card
from training.config import GROUPS, RunConfig, example_config

SUMMARY: dict[str, Any] = {
    "steps": 1200,
    "examples": 2400,
    "decision_tokens": 90_000,
    "context_tokens": 800_000,
    "displacement": 2.345678,
    "displacement_relative": None,
    "displacement_pretrained": 3.0,
    "loss_nats": {"b1": 0.25, "b2": 1.5},
}


def test_it_tells_the_whole_recipe_and_what_is_not_known() -> None:
    config = RunConfig.from_json(example_config())
    card = model_card(config, SUMMARY)
    assert "APOLLO of rank 256, in 1,200 steps over 2,400 examples" in card
    assert "What it has forgotten is not known here" in card
    assert "| displacement from the parent, L2 | 2.346 |" in card
    assert "| of the parent's norm | not measured |" in card
    assert "Support 0.25, General 1.5" in card
    rows = {line.split(" | ")[0].strip("| ") for line in card.splitlines() if line[:2] == "| "}
    record = config.to_json()
    for group in GROUPS:
        assert {f"{group}.{name}" for name in record[group]} <= rows
    assert {"learning_rate", "schedule", "warmup_steps", "dtype", "seed"} <= rows
    assert "models/base" not in card
    ranks = {"entropy_rank": 5.0, "rank_90": 2, "rank_matrices_measured": 42, "rank_matrices": 211}
    card = model_card(config, {**SUMMARY, **ranks})
    assert "| entropy rank of the change, mean (42 of 211 matrices measured) | 5 |" in card


@pytest.mark.parametrize(
    "name", ["a|b", "<script>x</script>", "two\n# lines", "[text](http://x)", "`code`"]
)
def test_a_batchs_name_makes_no_markup(name: str) -> None:
    config = example_config()
    config["batches"][0]["name"] = name
    card = model_card(RunConfig.from_json(config), SUMMARY)
    (row,) = [line for line in card.splitlines() if line.endswith("| agent_log | 0.75 |")]
    assert row.replace("\\|", "").count("|") == 4
    assert "<script" not in card
    assert "](http" not in card.replace("\\]", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": {"name": "lora"}}, "LoRA of rank 16, merged into the weights"),
        ({"method": {"name": "apollo", "implementation": "apollo-torch"}}, "CC-BY-NC 4.0"),
        ({"context_frozen": False}, "label masking"),
        ({"context": {"grad_window": 64}}, "but for the last 64 tokens before a decision"),
    ],
)
def test_it_says_what_was_special(changes: dict[str, Any], words: str) -> None:
    assert words in model_card(RunConfig.from_json({**example_config(), **changes}), SUMMARY)
