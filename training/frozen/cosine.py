"""How far the frozen gradient of an example points where the full one does: their cosine.

Frozen is what the session learns from; full is label masking's, with gradient through all of the
context. 1: freezing loses nothing but length; 0: the two have nothing in common.
"""

import random
from collections.abc import Sequence

import torch
from torch import nn

from training.ahead.passes import RECOMPUTED_UNITS
from training.config import RunConfig
from training.frozen.reference import layers_recomputed
from training.frozen.streaming import frozen_losses, masked_losses
from training.measures.sharpness import evaluating
from training.samples import Sample


class GradientCosine:
    """Measures the cosine on an example of a session's step, drawn at random.

    Between steps, when no gradient is held: it holds one itself meanwhile, as a step does, and
    drops the other as it comes. The full one recomputes its layers, so that the context's
    activations never lie in memory together. Dropout is off.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig,
        samples: Sequence[Sample],
        device: torch.device,
    ) -> None:
        """samples: in the order of the session."""
        self._model = model
        self._config = config
        self._samples = samples
        self._device = device
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._session_units = sum(sample.cost(config) for sample in samples)

    def sample(self, step: int) -> Sample | None:
        """Return the example of this step that is measured; None where none has a decision."""
        count = self._config.examples_per_step
        learnt = [
            sample
            for sample in self._samples[(step - 1) * count : step * count]
            if sample.encoded.decision_token_count
        ]
        draw = random.Random(f"{self._config.seed}/cosine/{step}")  # noqa: S311, no secret
        return draw.choice(learnt) if learnt else None

    def seconds(self, step: int, sample: Sample, step_seconds: float) -> tuple[float, float]:
        """Return what measuring this sample and what the whole session will take, by this step."""
        count = self._config.examples_per_step
        learnt = self._samples[(step - 1) * count : step * count]
        unit = step_seconds / max(1, sum(one.cost(self._config) for one in learnt))
        units = sample.cost(self._config) + RECOMPUTED_UNITS * len(sample.encoded.token_ids)
        return units * unit, self._session_units * unit

    def measure(self, sample: Sample) -> float | None:
        """Return the cosine at the present weights; None where a gradient is of length 0."""
        window = self._config.context.grad_window
        encoded = [sample.encoded]
        try:
            with evaluating(self._model):
                losses = frozen_losses(self._model, encoded, self._device, grad_window=window)
                for loss in losses:
                    loss.nll_sum.backward()
                frozen = [parameter.grad for parameter in self._parameters]
                return self._cosine(frozen, encoded)
        finally:
            for parameter in self._parameters:
                parameter.grad = None

    def _cosine(self, frozen: list[torch.Tensor | None], encoded: list) -> float | None:
        """Run the full backward, taking each parameter's part as soon as it is there."""
        parts: list[torch.Tensor] = []  # (frozen · full, ‖full‖²) of a parameter
        own = [_dot(one, one) for one in frozen if one is not None]
        handles = []
        for parameter, kept in zip(self._parameters, frozen, strict=True):
            parameter.grad = None

            def take(weight: torch.Tensor, kept: torch.Tensor | None = kept) -> None:
                full, weight.grad = weight.grad, None
                if full is not None:
                    shared = torch.zeros((), dtype=torch.float64, device=full.device)
                    shared = shared if kept is None else _dot(kept, full)
                    parts.append(torch.stack([shared, _dot(full, full)]))

            handles.append(parameter.register_post_accumulate_grad_hook(take))
        try:
            with layers_recomputed(self._model):
                for loss in masked_losses(self._model, encoded, self._device):
                    loss.nll_sum.backward()
        finally:
            for handle in handles:
                handle.remove()
        if not own or not parts:
            return None
        shared, full_squared = torch.stack(parts).sum(0).tolist()
        length: float = (torch.stack(own).sum().item() * full_squared) ** 0.5
        return shared / length if length else None


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The inner product, a float64 scalar: the matrices' own are summed in float32."""
    return torch.dot(first.flatten().float(), second.flatten().float()).double()
