"""Tokens that the parent finds unlikely: which they are, and that they are not learnt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM

from corpus.conversations import ChatEncoder
from engine.process import BAD_INPUT, DONE
from tests.training.toys import events_of
from training.__main__ import main
from training.config import RunConfig
from training.defences.likelihood import reading, target_log_probabilities
from training.defences.unlikely import sample_without, unlikely_places, unlikely_targets
from training.samples import Sample, curriculum_build

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
CPU = torch.device("cpu")
THRESHOLD = 0.0038
"""Next to 1/260, which the random model gives to about everything: it parts the tokens in two."""


@pytest.fixture
def model(tiny_model_directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_directory)


@pytest.fixture
def samples(recipe: Recipe, tiny_model_directory: Path) -> list[Sample]:
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    return list(curriculum_build(RunConfig.from_json(recipe), encoder, 2048).samples)


def unlikely_by_hand(model: Any, sample: Sample) -> set[int]:
    """Places of decision tokens below the threshold, from one plain forward."""
    ids = sample.encoded.token_ids
    with torch.no_grad():
        chances = log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1).exp()
    return {
        place
        for segment in sample.encoded.segments
        if segment.is_decision
        for place in range(segment.start, segment.end)
        if chances[place - 1, ids[place]] < THRESHOLD
    }


def test_a_token_is_unlikely_where_its_probability_is_below_the_threshold() -> None:
    assert unlikely_places([-0.1, -7.0, -6.8, -50.0], 1e-3) == [1, 3]  # ln 0.001 = -6.9078
    assert unlikely_places([-0.1, -float("inf")], 1e-300) == [1]


def test_what_is_left_out_is_what_a_plain_forward_says(model: Any, samples: list[Sample]) -> None:
    model.train()
    for sample in samples:
        with reading(model):
            places = unlikely_targets(sample, model, THRESHOLD, CPU)
        result = sample_without(sample, places).encoded
        expected = unlikely_by_hand(model, sample)
        assert result.left_out == expected
        assert result.decision_token_count == sample.encoded.decision_token_count - len(expected)
        assert result.token_ids == sample.encoded.token_ids
        assert 0 < len(expected) < sample.encoded.decision_token_count
    assert model.training


def test_likelihoods_do_not_depend_on_how_many_rows_are_read_at_once(
    model: Any, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(model):
        whole = target_log_probabilities(model, samples[0].encoded, CPU)
        monkeypatch.setattr("training.defences.likelihood._ROWS", 3)
        torch.testing.assert_close(target_log_probabilities(model, samples[0].encoded, CPU), whole)


def test_a_run_leaves_them_out_of_loss_and_counts_and_says_how_many(
    recipe: Recipe, run_directory: MakeRun, model: Any, samples: list[Sample]
) -> None:
    change = {"defences": {"mask_below_probability": THRESHOLD}, "examples_per_step": 10}
    directory = run_directory(recipe, **change)
    assert main([str(directory)]) == DONE
    events = events_of(directory)
    nll_nats, learnt, gone = 0.0, 0, 0
    for sample in samples:
        ids, unlikely = sample.encoded.token_ids, unlikely_by_hand(model, sample)
        with torch.no_grad():
            logs = log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
        for segment in sample.encoded.segments:
            if segment.is_decision:
                kept = [i for i in range(segment.start, segment.end) if i not in unlikely]
                nll_nats -= sum(logs[i - 1, ids[i]].item() for i in kept)
                learnt += len(kept)
        gone += len(unlikely)
    (metric,) = [e for e in events if e["event"] == "metric"]
    assert metric["values"]["loss_nats"] == pytest.approx(nll_nats / learnt, rel=1e-5)
    summary = events[-1]["summary"]
    assert summary["decision_tokens"] == learnt
    assert summary["left_out"]["left_out_tokens"] == {"b1": gone}
    assert summary["left_out"]["decision_tokens"] == {"b1": gone + learnt}
    (warning,) = [e for e in events if e.get("where") == "defences.mask_below_probability"]
    assert warning["message"].startswith(f"Words: {gone} of {gone + learnt} decision tokens")


def test_an_example_with_nothing_else_to_learn_is_left_out(
    recipe: Recipe, run_directory: MakeRun, model: Any, samples: list[Sample]
) -> None:
    """The threshold lies between the two highest of the examples' likeliest tokens."""
    with reading(model):
        best = sorted(target_log_probabilities(model, s.encoded, CPU).max() for s in samples)
    between = ((best[-1] + best[-2]) / 2).exp().item()
    directory = run_directory(recipe, defences={"mask_below_probability": between})
    assert main([str(directory)]) == DONE
    events = events_of(directory)
    summary = events[-1]["summary"]
    assert summary["examples"] == summary["steps"] == 1
    assert summary["left_out"]["left_out_examples"] == {"b1": 9}
    assert any("9 examples have nothing else" in e.get("message", "") for e in events)


def test_a_threshold_that_leaves_nothing_is_refused(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, defences={"mask_below_probability": 1.0})
    assert main([str(directory)]) == BAD_INPUT
    assert events_of(directory)[-1]["where"] == "defences.mask_below_probability"
