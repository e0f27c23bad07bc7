"""Streaming on many architectures against references that know nothing of caches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from corpus.encoded import EncodedExample
from tests.training.frozen.test_streaming import CPU, example, gradients
from tests.training.plain import frozen_count
from tests.training.shapes import HYBRID, PLAIN, WINDOWED, shape
from training.frozen.parity import parity_check
from training.frozen.streaming import frozen_losses, masked_losses

ATTENTION = (*PLAIN, *WINDOWED)
ALL = (*ATTENTION, *HYBRID)
# Context far longer than the attention windows; a decision of a single token; two that touch.
ITEM = example((21, 30), (34, 35), (40, 47), (47, 50), length=51)
SHORT = example((9, 14), length=14)
# Mamba takes these inside its scan, for the context as for the decision.
INSIDE_SCAN = ("A_log", "dt_bias")
MAMBA = ("granite_hybrid", "falcon_h1")


def detached(tensor: torch.Tensor, split: int, axis: int) -> torch.Tensor:
    """The tensor with its first `split` places cut off the graph."""
    before, after = tensor.split([split, tensor.shape[axis] - split], dim=axis)
    return torch.cat([before.detach(), after], dim=axis)


@contextmanager
def context_detached(model: Any, split: int) -> Iterator[None]:
    """Let one plain forward see keys, values and states of the first tokens as constants."""
    module = sys.modules[type(model).__module__]
    name = model.config._attn_implementation
    attention: Any = ALL_ATTENTION_FUNCTIONS.get(
        name, getattr(module, "eager_attention_forward", None)
    )

    def attend(owner: Any, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> Any:
        pair = (detached(one, split, 2) for one in (key, value))
        return attention(owner, query, *pair, *rest, **more)

    def convolve(hidden: Any, *rest: Any, **more: Any) -> Any:
        return detached(original[0](detached(hidden, split, 2), *rest, **more), split, 2)

    def delta_rule(*inputs: Any, g: Any, beta: Any, **more: Any) -> Any:
        return original[1](*inputs, g=detached(g, split, 1), beta=detached(beta, split, 1), **more)

    names = ("causal_conv1d_fn", "torch_chunk_gated_delta_rule")
    original: list[Any] = [getattr(module, one, None) for one in names]
    handles = [
        part.register_forward_hook(lambda _, __, output: detached(output, split, 1))
        for path, part in model.named_modules()
        if path.endswith("mamba.in_proj")
    ]
    with pytest.MonkeyPatch.context() as patch:
        if name == "eager":
            patch.setattr(module, "eager_attention_forward", attend)
        else:
            patch.setitem(ALL_ATTENTION_FUNCTIONS, name, attend)
        for one, known, ours in zip(names, original, (convolve, delta_rule), strict=True):
            if known is not None:
                patch.setattr(module, one, ours)
        yield
    for handle in handles:
        handle.remove()


def reference(model: Any, item: EncodedExample, window: int) -> dict[str, torch.Tensor]:
    """The gradient of all decisions, by one plain forward and backward for each."""
    model.zero_grad(set_to_none=True)
    ids = torch.tensor([item.token_ids])
    for decision in (one for one in item.segments if one.is_decision):
        places = torch.arange(decision.start, decision.end)
        with context_detached(model, frozen_count(decision.start, window)):
            logits = model(input_ids=ids, use_cache=False).logits[0]
            cross_entropy(logits[places - 1], ids[0, places], reduction="sum").backward()
    return {n: p.grad for n, p in model.named_parameters()}


def assert_near(ours: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal to rounding, by norm: recurrent states sum up a hundred products of products."""
    assert ours.keys() == expected.keys()
    largest = max(one.norm().item() for one in expected.values())
    for name, gradient in expected.items():
        allowed = 1e-4 * max(gradient.norm().item(), 1e-2 * largest)
        assert (ours[name] - gradient).norm().item() <= allowed, name


def without_scan(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one for name, one in tensors.items() if not name.endswith(INSIDE_SCAN)}


@pytest.mark.parametrize("window", [0, 6])
@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_that_of_a_context_held_constant(name: str, window: int) -> None:
    model = shape(name)
    _, ours = gradients(model, frozen_losses(model, [ITEM], CPU, grad_window=window))
    expected = reference(model, ITEM, window)
    if name in MAMBA:
        ours, expected = without_scan(ours), without_scan(expected)
    assert_near(ours, expected)


@pytest.mark.parametrize("name", ALL)
def test_a_window_over_everything_is_label_masking(name: str) -> None:
    model = shape(name)
    loss, ours = gradients(model, frozen_losses(model, [ITEM], CPU, grad_window=1000))
    expected_loss, expected = gradients(model, masked_losses(model, [ITEM], CPU))
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_near(ours, expected)


@pytest.mark.parametrize("window", [0, 6])
@pytest.mark.parametrize("name", ALL)
def test_conversations_walked_together_are_as_if_walked_alone(name: str, window: int) -> None:
    """Of different lengths with pads between, but for hybrids, whose states would run over them."""
    model = shape(name)
    other = example((21, 30), (34, 35), (40, 47), (47, 50), length=52)
    items = [ITEM, other] if name in HYBRID else [SHORT, ITEM]
    alone = [
        gradients(model, frozen_losses(model, [item], CPU, grad_window=window)) for item in items
    ]
    loss, ours = gradients(model, frozen_losses(model, items, CPU, grad_window=window))
    assert loss == pytest.approx(sum(one for one, _ in alone), rel=1e-6)
    assert_near(ours, {n: alone[0][1][n] + alone[1][1][n] for n in ours})


@pytest.mark.parametrize("name", ALL)
def test_the_check_at_load_passes(name: str) -> None:
    tensors = parity_check(shape(name), ITEM.token_ids, CPU, grad_window=4, together=2)
    assert tensors.logits < 1e-4
    assert tensors.gradient < 1e-4
    assert tensors.can_pad == (name not in HYBRID)
