"""Context-frozen training of one conversation, and its label-masking counterpart.

Context runs forward without gradient and fills the cache; each decision runs with gradient,
attends to detached keys and values, gets a backward of its own, and then becomes context in turn.
One pass serves all decisions, and memory holds one decision's graph at a time. The gradient that
would flow through the context into its representation is dropped, on purpose.

Dropout, where a model has any, is on in the context too: the model reads it as it does under label
masking.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from training.conversations import EncodedExample


@dataclass(frozen=True, kw_only=True)
class DecisionLoss:
    """The loss of one backward: of one decision in each of some conversations, or of all."""

    nll_sum: torch.Tensor
    """Sum of −ln p over all tokens that are learnt, a scalar in nats that carries the graph."""
    nll_sums: torch.Tensor
    """(conversations,) Each conversation's part of it, without the graph."""
    token_counts: tuple[int, ...]
    """(conversations,) Tokens behind each part; 0 for a conversation that has none in it."""


def base_model(model: nn.Module) -> Any:
    """Return the transformers model inside a PEFT model, or the model itself."""
    get_base_model: Any = getattr(model, "get_base_model", None)
    return model if get_base_model is None else get_base_model()


class StreamReader:
    """Reads one conversation from left to right through a cache of its own."""

    def __init__(self, model: nn.Module, token_ids: list[int], device: torch.device) -> None:
        self.model = model
        base = base_model(model)
        self.decoder = base.get_decoder()
        self.ids = torch.tensor([token_ids], device=device)  # (1, tokens)
        # Without the config a hybrid model's cache gets the wrong kinds of layers.
        self.cache = DynamicCache(config=base.config)
        self.position = 0

    def context(self, end: int) -> None:
        """Read tokens up to `end` without gradient and without logits."""
        if end > self.position:
            with torch.no_grad():
                self.decoder(**self._inputs(end))
            self.position = end

    def decision(self, end: int) -> torch.Tensor:
        """Read tokens up to `end` with gradient; return logits (tokens, vocabulary)."""
        logits: torch.Tensor = self.model(**self._inputs(end)).logits[0]
        self.position = end
        return logits

    def _inputs(self, end: int) -> dict[str, Any]:
        return {
            "input_ids": self.ids[:, self.position : end],
            # The mask must cover cache and segment; one over the segment alone is silently wrong.
            "attention_mask": torch.ones_like(self.ids[:, :end]),
            "past_key_values": self.cache,
            "use_cache": True,
        }

    def detach(self) -> None:
        """Cut the cache off the graph, so that a decision that is done becomes context."""
        for layer in self.cache.layers:
            for name in ("keys", "values"):
                tensor = getattr(layer, name, None)
                if isinstance(tensor, torch.Tensor):
                    setattr(layer, name, tensor.detach())


def frozen_losses(
    model: nn.Module, examples: Sequence[EncodedExample], device: torch.device
) -> Iterator[DecisionLoss]:
    """Yield the loss of every decision; call backward on each before asking for the next.

    The first token of a decision is predicted by the last context token, so that one is read with
    the decision: the split is one token before the segment's start.
    """
    for index, example in enumerate(examples):
        reader = StreamReader(model, example.token_ids, device)
        for segment in example.decisions:
            reader.context(segment.start - 1)
            logits = reader.decision(segment.end - 1)
            places = torch.tensor(example.targets(segment), device=device)  # (targets,)
            logits = logits[places - segment.start]
            yield _loss(logits, reader.ids[0, places], index, len(examples))
            reader.detach()


def masked_losses(
    model: nn.Module, examples: Sequence[EncodedExample], device: torch.device
) -> Iterator[DecisionLoss]:
    """Yield the loss of all decisions of each example, with gradient through the context."""
    for index, example in enumerate(examples):
        ids = torch.tensor([example.token_ids], device=device)  # (1, tokens)
        wanted = [place for segment in example.decisions for place in example.targets(segment)]
        if not wanted:
            continue
        places = torch.tensor(wanted, device=device)  # (targets,)
        output = model(input_ids=ids, use_cache=False, logits_to_keep=places - 1)
        yield _loss(output.logits[0], ids[0, places], index, len(examples))


def _loss(
    logits: torch.Tensor, targets: torch.Tensor, index: int, conversations: int
) -> DecisionLoss:
    """logits (tokens, vocabulary), targets (tokens,); in float32 whatever the model computes in."""
    nll_sum = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    nll_sums = torch.zeros(conversations, device=nll_sum.device)
    nll_sums[index] = nll_sum.detach()
    counts = tuple(len(targets) if i == index else 0 for i in range(conversations))
    return DecisionLoss(nll_sum=nll_sum, nll_sums=nll_sums, token_counts=counts)


LossFunction = Callable[[nn.Module, Sequence[EncodedExample], torch.device], Iterator[DecisionLoss]]
