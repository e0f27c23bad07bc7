"""Likelihoods where the logits of all places together would be too large for memory.

32,768 places over a vocabulary of 250,000 take 33 GB in float32, and a log-softmax doubles that.
Here the decoder runs once and the model's own head reads its output part by part, with whatever
scaling or capping its class does after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from evaluation.loading import Loaded

LOGITS_MOST = 1 << 27
"""Numbers of logits that are made at once, 0.5 GB in float32: 2,730 places with SmolLM2's 49,152
tokens, 512 with 262,144. Where there are fewer, nothing is parted and no bit changes."""


def are_too_many(places: int, loaded: Loaded) -> bool:
    """Whether so many places have to be read in parts."""
    return places > _places_at_once(loaded)


def _places_at_once(loaded: Loaded) -> int:
    return max(1, LOGITS_MOST // int(loaded.model.config.get_text_config().vocab_size))


@torch.inference_mode()
def nll_nats(loaded: Loaded, ids: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """−log p of each token at some places given all before it, (targets,), float32 log-softmax.

    ids: (tokens,); at: (targets,) places in it, in their order, none of them the first.
    """
    inputs = ids[: int(at[-1])].unsqueeze(0)
    parts = at.split(_places_at_once(loaded))
    nats = []
    with _decoder_kept(loaded.model) as kept:
        for part in parts:
            logits = kept(inputs, part - 1)
            nats.append(functional.cross_entropy(logits.float(), ids[part], reduction="none"))
            del logits
    return torch.cat(nats)


@contextmanager
def _decoder_kept(model: Any) -> Iterator[Any]:
    """Give a function (inputs, places) -> logits (places, vocabulary) whose decoder runs once."""
    decoder = model.get_decoder()
    outputs: list[Any] = []
    before = vars(decoder).get("forward")

    def logits(inputs: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = model(inputs, logits_to_keep=places, use_cache=False).logits[0]
        if "forward" not in vars(decoder) or vars(decoder)["forward"] is before:
            decoder.forward = lambda *_, **__: outputs[0]
        return result

    handle = decoder.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        yield logits
    finally:
        handle.remove()
        if before is not None:
            decoder.forward = before
        else:
            vars(decoder).pop("forward", None)
