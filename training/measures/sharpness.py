"""How sharply the loss bends along the step that was just taken: vᵀHv/‖v‖².

v = θ − θ_before is the step and H the Hessian of the loss L on a fixed small batch. By the central
second difference along v, with ε so large that rounding does not drown it:

    (L(θ + εv) − 2 L(θ) + L(θ − εv)) / (ε‖v‖)²

In nats a squared unit of weight: the largest eigenvalue of H bounds it. Dropout is off. The weights
and everything random are afterwards what they were, to the bit.

It needs no memory beside the session's own: the weights before the step take the place of the
gradients that the step has used, and make room there for the weights after it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from engine.process import Heap
from training.ahead.passes import SHARPNESS_TOKENS
from training.frozen.streaming import masked_losses
from training.samples import Sample

Pair = tuple[torch.Tensor, torch.Tensor]
"""A parameter, and what it was."""
_PART_ENTRIES = 1 << 20
REACH = 1e-4
"""ε‖v‖ is at least this much of ‖θ‖: in float32 a loss of 1 is right to about 1e-7, and the
difference grows with the square of the reach."""


def sharpness_batch(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first samples of a session up to 1,024 tokens; its shortest where none fits.

    Empty where no sample has a token that counts in the loss.
    """
    chosen: list[Sample] = []
    tokens = 0
    samples = [sample for sample in samples if sample.encoded.decision_token_count]
    for sample in samples:
        length = len(sample.encoded.token_ids)
        if tokens + length <= SHARPNESS_TOKENS and sample not in chosen:
            chosen.append(sample)
            tokens += length
        if tokens > SHARPNESS_TOKENS // 2:
            break
    return chosen or sorted(samples, key=lambda sample: len(sample.encoded.token_ids))[:1]


class Sharpness:
    """Measures the sharpness along a model's steps. From `step` to `measure` it keeps one copy of
    what learns, where its gradients were."""

    def __init__(self, model: nn.Module, loss: Callable[[], float]) -> None:
        """loss: L at the model's present weights, without gradient and without randomness."""
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._loss = loss
        self._pairs: list[Pair] | None = None

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer's step, one parameter after the other, and keep what they were.

        The gradients are gone then: a further step of the optimizer's changes nothing.
        """
        gradients = [parameter.grad for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        self._pairs = []
        moving = [
            (parameter, gradient)
            for parameter, gradient in zip(self._parameters, gradients, strict=True)
            if gradient is not None
        ]
        for parameter, gradient in Heap().trimming(moving):
            before = parameter.detach().clone(memory_format=torch.contiguous_format)
            parameter.grad = gradient
            optimizer.step()
            parameter.grad = None
            self._pairs.append((parameter.detach(), _store(before, gradient)))

    @property
    def is_waiting(self) -> bool:
        """Whether `step` was called and `measure` was not."""
        return self._pairs is not None

    @torch.no_grad()
    def measure(self) -> float | None:
        """Return vᵀHv/‖v‖² at the present weights; None where the step was of length 0."""
        pairs, self._pairs = self._pairs, None
        if pairs is None:
            raise RuntimeError("step was not called")
        length = _length(now - before for now, before in _both_parts(pairs))
        if length == 0.0:
            return None
        size = _length(part for p in self._parameters for part in _parts(p))
        reach = max(length, REACH * size)
        here = self._loss()
        _advance(pairs, reach / length)
        try:
            ahead = self._loss()
            _reflect(pairs)
            behind = self._loss()
        finally:
            for parameter, after in pairs:
                parameter.copy_(after)
        return (ahead - 2.0 * here + behind) / reach**2


def _store(before: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Copy weights to where their gradient was; return them as they are where it does not fit."""
    if gradient.dtype != before.dtype or not gradient.is_contiguous():
        return before
    return gradient.detach().copy_(before)


def _advance(pairs: Sequence[Pair], epsilon: float) -> None:
    """From (θ, θ_before) make (θ + ε(θ − θ_before), θ)."""
    for now, before in _both_parts(pairs):
        step = now - before
        before.copy_(now)
        now.add_(step, alpha=epsilon)


def _reflect(pairs: Sequence[Pair]) -> None:
    """From (θ + εv, θ) make (θ − εv, θ)."""
    for moved, after in _both_parts(pairs):
        moved.neg_().add_(after, alpha=2.0)


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Flat pieces, so that an embedding is never copied or converted as a whole."""
    return tensor.view(-1).split(_PART_ENTRIES)


def _both_parts(pairs: Sequence[Pair]) -> Iterator[Pair]:
    for parameter, kept in pairs:
        yield from zip(_parts(parameter), _parts(kept), strict=True)


def _length(tensors: Iterable[torch.Tensor]) -> float:
    """The Euclidean norm of all together."""
    norms = (torch.linalg.vector_norm(one, dtype=torch.float64).item() for one in tensors)
    return math.sqrt(sum(norm**2 for norm in norms))


def batch_loss(
    model: nn.Module, samples: Sequence[Sample], device: torch.device
) -> Callable[[], float]:
    """Return L: the mean nats a decision token of these samples, dropout off."""

    @torch.no_grad()
    def loss() -> float:
        with evaluating(model):
            parts = [
                (one.nll_sum.item(), sum(one.token_counts))
                for sample in samples  # one by one: together they would take more memory
                for one in masked_losses(model, [sample.encoded], device)
            ]
        return sum(nll for nll, _ in parts) / sum(count for _, count in parts)

    return loss


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
