"""How far a run will move the weights and how long it will take, before it starts. No torch here.

Displacement is rate × steps × mean update norm. For Adam-like methods the gradient's own size
cancels: an update moves every parameter by about the rate or less, so its norm is the rate times
at most √N, with N the parameters that learn. How much of that adds up depends on how alike the
gradients of the steps are, which nobody knows beforehand:

    all steps agree      U · Σ rate          (the upper bound)
    steps are unrelated  U · √(Σ rate²)      (a random walk); half of it where the loss soon fades

with U = √N for AdamW, about half of it for APOLLO (its norm-growth limiter), √(128/n) for
APOLLO-Mini's matrices, and for LoRA the norm of its product. The forecast is the geometric mean of
the lowest and the highest. SmolLM2-135M, 60 AdamW steps on near-identical examples, measured 2.3,
8.4 and 21.7 at rates 1e-5, 1e-4 and 3e-4; this gives 1.8 (0.4-7), 18 (4-70) and 53 (13-209): the
order of magnitude and no more. After one run of a like kind, its own `update_norm` is far better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.ahead.mixture import step_count
from training.config import MethodConfig

_FADE = 0.5
_MEASURED_SPREAD = 2.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to do."""

    step_count: int
    displacement: float
    """‖W − W_parent‖₂ at the end, the middle guess."""
    displacement_low: float
    displacement_high: float
    seconds: float | None
    """None where no speed was measured yet."""
    seconds_reason: str | None
    """Why `seconds` is None."""


def rates(schedule: str, learning_rate: float, warmup_steps: int, steps: int) -> list[float]:
    """Return the rate of every step, as transformers' schedules of these names give it."""
    changes = []
    for step in range(steps):
        if step < warmup_steps:
            factor = step / max(1, warmup_steps)
        elif schedule == "constant":
            factor = 1.0
        else:
            part = (step - warmup_steps) / max(1, steps - warmup_steps)
            factor = 1 - part if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * part))
        changes.append(learning_rate * factor)
    return changes


def forecast(
    *,
    method: MethodConfig,
    learning_rate: float,
    tensor_shapes: Mapping[str, tuple[int, ...]],
    example_counts: Sequence[int],
    weights: Sequence[float],
    epochs: int = 1,
    examples_per_step: int = 1,
    max_steps: int | None = None,
    schedule: str = "constant",
    warmup_steps: int = 0,
    tokens_per_example: float | None = None,
    tokens_per_second: float | None = None,
    beside_share: float = 0.0,
    update_norm: float | None = None,
) -> Forecast:
    """Forecast a run.

    tensor_shapes: of the parent, from `engine.tensorfiles.tensor_shapes`.
    example_counts, weights: of each batch, held-out examples not counted.
    tokens_per_example, tokens_per_second: context and decision tokens together, the latter as an
    earlier run of a like kind measured it; without both, seconds is None.
    beside_share: what the run computes beside its training, as a share of that (see `passes`).
    update_norm: displacement ÷ Σ rate of an earlier run of the same model and method (the done
    summary's `update_norm`); then the forecast is update_norm · Σ rate, give or take a factor 2.
    """
    steps = step_count(
        example_counts,
        weights,
        epochs=epochs,
        examples_per_step=examples_per_step,
        max_steps=max_steps,
    )
    every = rates(schedule, learning_rate, warmup_steps, steps)
    if update_norm is not None:
        middle = update_norm * sum(every)
        low, high = middle / _MEASURED_SPREAD, middle * _MEASURED_SPREAD
    else:
        low, high = _range(method, tensor_shapes, every)
        middle = math.sqrt(low * high)
    seconds, reason = None, "no run with this model was timed yet"
    if tokens_per_example is not None and tokens_per_second:
        seconds = steps * examples_per_step * tokens_per_example / tokens_per_second
        seconds *= 1.0 + beside_share
    return Forecast(
        step_count=steps,
        displacement=middle,
        displacement_low=low,
        displacement_high=high,
        seconds=seconds,
        seconds_reason=None if seconds is not None else reason,
    )


def _range(
    method: MethodConfig, shapes: Mapping[str, tuple[int, ...]], every: Sequence[float]
) -> tuple[float, float]:
    together = sum(every)
    apart = math.sqrt(sum(rate * rate for rate in every))
    norm = method.kind.update_norm(method, shapes)
    return _FADE * norm * apart, norm * together
