"""Logits in parts: the same likelihoods, and never all logits at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from corpus.encoded import EncodedExample, Segment
from evaluation import longlogits
from evaluation.learnability import decisions_nats
from evaluation.perplexity import document_nll_nats
from evaluation.retention import decision_nll_nats
from tests.tiny_model import VOCABULARY_SIZE
from tests.training.shapes import shape

TOKENS = [i * i % 251 for i in range(200)]
EXAMPLE = EncodedExample(
    token_ids=TOKENS,
    segments=[
        Segment(start=20, end=90, is_decision=True),
        Segment(start=120, end=200, is_decision=True),
    ],
)
WAYS: dict[str, Callable[[Any], Any]] = {
    "document": lambda one: document_nll_nats(TOKENS, one, window_tokens=128, stride_tokens=64),
    "session": lambda one: decision_nll_nats(EXAMPLE, one),
    "decisions": lambda one: [mean for _, mean in decisions_nats(EXAMPLE, one)],
}


class LongestLogits(TorchDispatchMode):
    """The most places whose logits were made at once."""

    def __init__(self) -> None:
        super().__init__()
        self.places = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            is_logits = isinstance(one, torch.Tensor) and one.shape[-1:] == (VOCABULARY_SIZE,)
            if is_logits and one.is_floating_point():
                self.places = max(self.places, one.numel() // VOCABULARY_SIZE)
        return made


@pytest.mark.parametrize("name", ["llama", "gemma2", "granite", "gpt2", "qwen3_5", "mistral"])
@pytest.mark.parametrize("way", WAYS)
def test_in_parts_they_are_those_of_one(
    name: str, way: str, tiny_loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = replace(tiny_loaded, model=shape(name).eval())
    whole = WAYS[way](loaded)
    monkeypatch.setattr(longlogits, "LOGITS_MOST", 16 * VOCABULARY_SIZE)
    with LongestLogits() as longest:
        parted = WAYS[way](loaded)
    assert parted == pytest.approx(whole, rel=1e-5)
    assert longest.places == 16
    assert "forward" not in vars(loaded.model.get_decoder())


def test_the_decoder_runs_once(tiny_loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longlogits, "LOGITS_MOST", 16 * VOCABULARY_SIZE)
    seen: list[int] = []
    layer = tiny_loaded.model.get_decoder().layers[0]
    handle = layer.register_forward_hook(lambda *_: seen.append(1))
    try:
        decision_nll_nats(EXAMPLE, tiny_loaded)
    finally:
        handle.remove()
    assert seen == [1]
