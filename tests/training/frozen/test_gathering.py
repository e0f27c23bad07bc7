"""Short decisions in one backward against decision by decision, on every shape that bears it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.frozen.test_streaming import CPU, assert_same, example, gradients
from tests.training.shapes import HYBRID, PLAIN, WINDOWED, shape
from training.frozen import stretches
from training.frozen.masks import layer_masks
from training.frozen.parity import parity_check
from training.frozen.streaming import frozen_losses
from training.frozen.stretches import Stretch, stretches_group

ITEM = example((20, 30), (32, 45), (60, 61), (61, 70), (80, 100), length=101)


def part(start: int, length: int) -> Stretch:
    return Stretch(start=start, end=start + length, targets=(start + 1,))


def test_neighbours_share_a_group_up_to_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "GATHERED_TOKENS", 10)
    parts = [part(0, 4), part(5, 6), part(20, 1), part(30, 11), part(50, 3), part(60, 7)]
    assert stretches_group(parts) == [parts[:2], parts[2:3], parts[3:4], parts[4:]]
    assert stretches_group([]) == []


@pytest.mark.parametrize("grad_window", [0, 7, 40])
@pytest.mark.parametrize("name", [*PLAIN, *WINDOWED])
def test_one_backward_gives_the_gradient_of_many(name: str, grad_window: int) -> None:
    model = shape(name)
    apart = gradients(model, frozen_losses(model, [ITEM], CPU, grad_window=grad_window))
    losses = list(frozen_losses(model, [ITEM], CPU, grad_window=grad_window, gather=True))
    assert [loss.token_counts for loss in losses] == [(10 + 13 + 1 + 9 + 20,)]
    together = gradients(model, losses)
    assert together[0] == pytest.approx(apart[0], rel=1e-5)
    assert_same(together[1], apart[1])


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma3"])
@pytest.mark.parametrize("grad_window", [0, 20])
def test_several_groups_follow_each_other(
    monkeypatch: pytest.MonkeyPatch, name: str, grad_window: int
) -> None:
    """What one group leaves in the cache is context of the next."""
    monkeypatch.setattr(stretches, "GATHERED_TOKENS", 30 + 2 * grad_window)
    model = shape(name)
    apart = gradients(model, frozen_losses(model, [ITEM], CPU, grad_window=grad_window))
    counted: list[int] = []

    def counting() -> Iterator[Any]:
        for loss in frozen_losses(model, [ITEM], CPU, grad_window=grad_window, gather=True):
            counted.append(sum(loss.token_counts))
            yield loss

    together = gradients(model, counting())
    assert 1 < len(counted) < 5
    assert together[0] == pytest.approx(apart[0], rel=1e-5)
    assert_same(together[1], apart[1])


def test_tokens_that_are_left_out_are_read_and_not_learnt() -> None:
    model = shape("qwen3")
    item = replace(ITEM, left_out=frozenset([20, 24, 35, *range(61, 70)]))
    apart = gradients(model, frozen_losses(model, [item], CPU))
    together = gradients(model, frozen_losses(model, [item], CPU, gather=True))
    assert together[0] == pytest.approx(apart[0], rel=1e-5)
    assert_same(together[1], apart[1])


def test_adapters_learn_the_same() -> None:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(shape("qwen3"), settings)
    apart = gradients(model, frozen_losses(model, [ITEM], CPU))
    together = gradients(model, frozen_losses(model, [ITEM], CPU, gather=True))
    assert_same(together[1], apart[1])


@pytest.mark.parametrize("name", [*PLAIN, *WINDOWED])
def test_the_check_at_load_allows_it_where_it_holds(name: str) -> None:
    assert parity_check(shape(name), ITEM.token_ids, CPU, gather=True).can_gather


@pytest.mark.parametrize("name", HYBRID)
def test_models_with_a_state_go_decision_by_decision(name: str) -> None:
    assert not parity_check(shape(name), ITEM.token_ids, CPU, gather=True).can_gather


def test_the_check_at_load_sees_a_model_that_looks_past_its_mask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_mask(base: Any, windows: Any, seen: torch.Tensor, *places: torch.Tensor) -> Any:
        return layer_masks(base, windows, torch.ones_like(seen), *places)

    monkeypatch.setattr("training.frozen.gathering.layer_masks", open_mask)
    result = parity_check(shape("llama"), ITEM.token_ids, CPU, gather=True)
    assert not result.can_gather
    assert result.gradient < 1e-4
