"""How far the model's predictions have gone from the parent's: forward KL on the run's own prompts.

KL(parent ‖ model) = Σ_v p_parent(v) · (ln p_parent(v) − ln p_model(v)), over the full vocabulary in
float32, the mean over decision tokens of a few of the run's examples. It warns early, whatever the
batch teaches, and passes no gate.
"""

import random
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from corpus.encoded import EncodedExample
from training.ahead.passes import KL_TOKENS_PER_EXAMPLE
from training.defences.likelihood import logits_before, target_places
from training.samples import Sample

_ROWS = 32


def prompts_choose(
    samples: Sequence[Sample], tokens: int, seed: int
) -> list[tuple[EncodedExample, list[int]]]:
    """Return examples that the run learns from, drawn with a seed, and the places to look at."""
    distinct = list({id(sample): sample.encoded for sample in samples}.values())
    random.Random(f"{seed}/divergence").shuffle(distinct)  # noqa: S311, an order and no secret
    chosen: list[tuple[EncodedExample, list[int]]] = []
    for example in distinct:
        places = target_places(example)[: min(KL_TOKENS_PER_EXAMPLE, tokens)]
        if not places:
            break
        chosen.append((example, places))
        tokens -= len(places)
    return chosen


class ParentDivergence:
    """The parent's predictions, and how far a model's are from them.

    Memory: the parent's ln p on the CPU, 4 bytes × tokens × vocabulary (128 tokens of a vocabulary
    of 50,000: 26 MB). They are float32, since a KL of a thousandth of a nat drowns in bfloat16.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[tuple[EncodedExample, list[int]]],
        device: torch.device,
    ) -> None:
        """The model has the parent's weights; call within `reading`."""
        self._prompts = prompts
        self._device = device
        self._parent = [
            functional.log_softmax(self._logits(model, prompt).float(), dim=-1).cpu()
            for prompt in prompts
        ]  # (places, vocabulary) each

    def _logits(self, model: nn.Module, prompt: tuple[EncodedExample, list[int]]) -> torch.Tensor:
        example, places = prompt
        return logits_before(model, example.token_ids, places, self._device)

    def measure(self, model: nn.Module) -> float:
        """Return the mean KL in nats a token; call within `reading`."""
        nats, tokens = 0.0, 0
        for prompt, parent in zip(self._prompts, self._parent, strict=True):
            logits = self._logits(model, prompt)
            for before, now in zip(parent.split(_ROWS), logits.split(_ROWS), strict=True):
                there = before.to(self._device)
                here = functional.log_softmax(now.float(), dim=-1)
                nats += (there.exp() * (there - here)).sum(dtype=torch.float64).item()
            tokens += len(parent)
        return 0.0 if nats < 0 else nats / tokens  # below zero by rounding only
