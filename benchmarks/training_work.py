"""The arithmetic of one step, counted: what a bound and a share of the matrix rate stand on."""

import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training_cases import Case
from engine.tensorfiles import tensor_places

_EMBEDDINGS = ("embed_tokens", "lm_head", "wte")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Parameters that multiply every token (one multiplication and one addition each)."""

    body: int
    """All layers, without embeddings and head."""
    head: int
    """The matrix that turns hidden states into logits."""


def model_size(model: Path) -> Size:
    """Count a model directory's parameters from its files' headers."""
    places = tensor_places(model)
    outer = {name for name in places if any(part in name for part in _EMBEDDINGS)}
    return Size(
        body=sum(math.prod(place.shape) for name, place in places.items() if name not in outer),
        head=max(math.prod(places[name].shape) for name in outer),
    )


def flops_of(case: Case, size: Size, *, frozen: bool) -> int:
    """Floating-point operations of one step (theory: 2N a token forward, 6N with the backward).

    frozen: context forward only and without logits; else all tokens forward and backward with
    logits for all, as both baselines compute them. Attention's own products are left out.
    """
    every = size.body + size.head
    if frozen:
        return 2 * size.body * case.own_context_tokens + 6 * every * case.own_decision_tokens
    return 6 * every * sum(case.lengths)
