"""What a model as it stands thinks of tokens: read without gradient, dropout off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from corpus.encoded import EncodedExample

_ROWS = 64
"""Rows of logits that are turned into float32 at a time: with 150,000 tokens 38 MB."""


@contextmanager
def reading(model: nn.Module) -> Iterator[None]:
    """Read with a model without gradient and dropout; leave it in the mode it was in.

    No random number is drawn, so whether anything was read makes no difference to training.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def target_places(example: EncodedExample) -> list[int]:
    """Return the places of all tokens of an example that are learnt, in order."""
    return [place for segment in example.decisions for place in example.targets(segment)]


def logits_before(
    model: nn.Module, token_ids: Sequence[int], places: Sequence[int], device: torch.device
) -> torch.Tensor:
    """Return the logits (places, vocabulary) from which the tokens at these places are predicted.

    In the model's dtype; from an ordinary forward without a cache that stops before the last place.
    """
    ids = torch.tensor([list(token_ids[: places[-1]])], device=device)  # (1, tokens)
    before = torch.tensor(places, device=device) - 1
    logits: torch.Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=before).logits[0]
    return logits


def target_log_probabilities(
    model: nn.Module, example: EncodedExample, device: torch.device
) -> torch.Tensor:
    """Return ln p (targets,) of the tokens of an example that are learnt, float32, in nats."""
    places = target_places(example)
    logits = logits_before(model, example.token_ids, places, device)
    targets = torch.tensor([example.token_ids[place] for place in places], device=device)
    parts = zip(logits.split(_ROWS), targets.split(_ROWS), strict=True)
    return torch.cat(
        [
            -functional.cross_entropy(rows.float(), wanted, reduction="none")
            for rows, wanted in parts
        ]
    )
