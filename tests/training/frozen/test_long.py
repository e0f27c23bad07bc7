"""Contexts of thousands of tokens: read in parts, with nothing quadratic but masks of one part."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from corpus.encoded import EncodedExample, Segment
from tests.training import shapes
from tests.training.shapes import shape
from training.config import CONTEXT_TOKENS
from training.frozen import reader
from training.frozen.reader import read_ends
from training.frozen.streaming import frozen_losses

CPU = torch.device("cpu")
LONG = 8192
FAMILIES = ("llama", "mistral", "gemma3", "qwen3_5", "gpt_oss", "granite_hybrid")
"""Full attention, windows in all layers, in some, a delta rule, sinks, and a state space."""


def example(tokens: int, *decisions: tuple[int, int]) -> EncodedExample:
    segments = [Segment(start=a, end=b, is_decision=True) for a, b in decisions]
    return EncodedExample(token_ids=[i * i % 251 for i in range(tokens)], segments=segments)


class Largest(TorchDispatchMode):
    """Sees every tensor that is made: the most numbers of whole numbers, and of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = self.any = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                held = one.untyped_storage().nbytes() // max(1, one.element_size())
                numbers = min(one.numel(), held)  # what is expanded takes no memory
                self.any = max(self.any, numbers)
                if one.dtype in (torch.int64, torch.int32):
                    self.whole = max(self.whole, numbers)
        return made


@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_context_makes_no_whole_numbers_of_quadratic_size(
    name: str, gather: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gather and name in ("qwen3_5", "granite_hybrid"):
        pytest.skip("models with a state go decision by decision")
    monkeypatch.setitem(shapes.COMMON, "max_position_embeddings", LONG + 64)
    one = example(LONG + 20, (LONG, LONG + 8), (LONG + 12, LONG + 20))
    with Largest() as largest:
        losses = list(frozen_losses(shape(name), [one], CPU, gather=gather))
    assert losses
    assert largest.whole <= 16 * LONG  # a few rows of all tokens
    heads = 4 if name == "gpt_oss" else 1  # it has its scores in memory, of all heads
    assert largest.any < heads * LONG * LONG // 2


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_long_conversations_side_by_side_make_none_either(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shapes.COMMON, "max_position_embeddings", LONG + 64)
    both = [example(LONG + 8, (LONG, LONG + 8)), example(4000, (3990, 4000))]
    with Largest() as largest:
        list(frozen_losses(shape(name), both, CPU))
    assert largest.whole <= 16 * LONG
    assert largest.any < LONG * LONG // 2


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_context_in_parts_teaches_what_it_teaches_in_one(
    name: str, side_by_side: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if side_by_side and name in ("qwen3_5", "granite_hybrid"):
        pytest.skip("models with a state see no pads")
    examples = [example(200, (90, 110), (180, 200))]
    if side_by_side:
        examples.append(example(150, (70, 75), (140, 150)))
    gradients = []
    for tokens in (CONTEXT_TOKENS, 31):
        monkeypatch.setattr(reader, "CONTEXT_TOKENS", tokens)
        if tokens < CONTEXT_TOKENS:
            monkeypatch.setattr(reader, "begins_without_mask", lambda *_: False)
        model = shape(name)
        for loss in frozen_losses(model, examples, CPU):
            loss.nll_sum.backward()
        parts = [one.grad for one in model.parameters() if one.grad is not None]
        gradients.append(torch.cat([one.flatten() for one in parts]))
    whole, parted = gradients
    assert (whole - parted).norm() <= 1e-4 * whole.norm()


def test_passes_are_of_one_length_and_leave_no_single_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "CONTEXT_TOKENS", 10)
    assert list(read_ends([0], [21])) == [[7], [14], [21]]
    assert list(read_ends([5, 0], [5, 20])) == [[5, 10], [5, 20]]
    assert list(read_ends([3], [3])) == []
    assert list(read_ends([3], [13])) == [[13]]
    assert list(read_ends([0, 0], [21, 4], at_once=True)) == [[21, 4]]
    assert list(read_ends([1], [21], at_once=True)) == [[11], [21]]  # no first pass
    assert list(read_ends([0], [0], at_once=True)) == []
