"""How sharply the loss bends along the step that was just taken: vᵀHv/‖v‖².

v = θ − θ_before is the step and H the Hessian of the loss L on a fixed small batch. By the central
second difference along v, with ε so large that rounding does not drown it:

    (L(θ + εv) − 2 L(θ) + L(θ − εv)) / (ε‖v‖)²

In nats a squared unit of weight: the largest eigenvalue of H bounds it. Dropout is off. The weights
and everything random are afterwards what they were, to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from training.frozen.streaming import masked_losses
from training.passes import SHARPNESS_TOKENS
from training.samples import Sample

_PART_ENTRIES = 1 << 22
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
    """Measures the sharpness along a model's steps. Holds one copy of what learns, in main memory,
    from `before_step` to `measure`, where a second one joins it."""

    def __init__(self, model: nn.Module, loss: Callable[[], float]) -> None:
        """loss: L at the model's present weights, without gradient and without randomness."""
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._loss = loss
        self._before: list[torch.Tensor] | None = None

    def before_step(self) -> None:
        """Remember the weights from which the optimizer is about to step."""
        self._before = _copies(self._parameters)

    @property
    def is_waiting(self) -> bool:
        """Whether `before_step` was called and `measure` was not."""
        return self._before is not None

    @torch.no_grad()
    def measure(self) -> float | None:
        """Return vᵀHv/‖v‖² at the present weights; None where the step was of length 0."""
        before, self._before = self._before, None
        if before is None:
            raise RuntimeError("before_step was not called")
        after = _copies(self._parameters)
        length = _distance(after, before)
        if length == 0.0:
            return None
        size = _distance(after, None)
        reach = max(length, REACH * size)
        here = self._loss()
        try:
            ahead = self._loss_at(after, before, reach / length)
            behind = self._loss_at(after, before, -reach / length)
        finally:
            for parameter, kept in zip(self._parameters, after, strict=True):
                parameter.copy_(kept)
        return (ahead - 2.0 * here + behind) / reach**2

    def _loss_at(
        self, after: list[torch.Tensor], before: list[torch.Tensor], epsilon: float
    ) -> float:
        for parameter, new, old in zip(self._parameters, after, before, strict=True):
            into = parameter.view(-1)
            for part in _parts(new):
                ends = new.view(-1)[part], old.view(-1)[part]
                into[part].copy_(ends[0] + epsilon * (ends[0] - ends[1]))
        return self._loss()


def _copies(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    # In main memory: a GPU's is what a session is short of.
    return [
        p.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for p in parameters
    ]


def _parts(tensor: torch.Tensor) -> Iterator[slice]:
    """Pieces of a flat tensor, so that an embedding is never copied as a whole once more."""
    for start in range(0, tensor.numel(), _PART_ENTRIES):
        yield slice(start, start + _PART_ENTRIES)


def _distance(tensors: list[torch.Tensor], others: list[torch.Tensor] | None) -> float:
    total = 0.0
    for number, tensor in enumerate(tensors):
        for part in _parts(tensor):
            moved = tensor.view(-1)[part]
            if others is not None:
                moved = moved - others[number].view(-1)[part]
            total += torch.linalg.vector_norm(moved, dtype=torch.float64).item() ** 2
    return total**0.5


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
