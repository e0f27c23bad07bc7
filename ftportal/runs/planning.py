"""What a run will do, told before it starts: steps, displacement, time, and reasons for care."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.checks import ConfigError
from engine.tensorfiles import tensor_shapes
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import BatchKind, HeldOutSet
from ftportal.jobs.models import JobState
from ftportal.runs.material import beside_words, material_of, mean_example
from ftportal.runs.memory import memory_plan
from ftportal.runs.models import Run
from ftportal.runs.recipes import (
    Mixture,
    config_build,
    length_words,
    shares,
)
from training.ahead.fitting import MethodFit
from training.ahead.forecast import Forecast, forecast
from training.ahead.mixture import mixture_counts, step_count
from training.ahead.passes import MeanExample, passes_count, tokens_per_second
from training.ahead.warnings import RecipeWarning, data_warnings, recipe_warnings
from training.config import RunConfig

STEPS_MAX = 1_000_000
"""More steps are a slip of the finger; a forecast of them would also take too long."""
ASSUMED_OPERATIONS_PER_SECOND = 5e10
"""Two slow CPU cores: SmolLM2-135M took 2.4 s for 320 tokens. Used where nothing was timed yet."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe's config, forecast and warnings. Lengths of the weights' way are L2 norms."""

    config: RunConfig
    """What the engine would be told."""
    step_count: int
    examples_per_epoch: int
    displacement: float
    displacement_low: float
    displacement_high: float
    displacement_basis: str
    seconds: float
    seconds_basis: str
    memory_bytes: int | None
    memory_basis: str
    """What most of it is for; why it is not known, where memory_bytes is None."""
    memory_methods: tuple[MethodFit, ...]
    """What each method would need."""
    memory_place: str
    """What they are compared with; "" where that is not known."""
    shares: tuple[float, ...]
    warnings: tuple[RecipeWarning, ...]

    @property
    def chosen_is_too_large(self) -> bool:
        """Whether the recipe's own method is known not to fit."""
        return any(one.chosen and one.too_large for one in self.memory_methods)

    @property
    def displacement_words(self) -> tuple[str, str, str]:
        """The displacement, from where, to where."""
        lengths = (self.displacement, self.displacement_low, self.displacement_high)
        middle, low, high = map(length_words, lengths)
        return middle, low, high

    def to_json(self) -> dict[str, Any]:
        """What a run keeps of it."""
        left = ("config", "memory_methods", "memory_place")  # of what was not chosen
        record = {name: value for name, value in asdict(self).items() if name not in left}
        record["shares"] = list(self.shares)
        record["warnings"] = [asdict(one) for one in self.warnings]
        return record


@dataclass(frozen=True, kw_only=True)
class _Speed:
    tokens_per_second: float
    basis: str


def plan(
    *,
    parent: Checkpoint,
    mixture: Mixture,
    recipe: Mapping[str, Any],
    probe_set: HeldOutSet | None = None,
) -> Plan:
    """Plan a run. Raises ConfigError for a recipe that cannot be, ValueError for a parent whose
    weights cannot be read."""
    config = config_build(parent=parent, mixture=mixture, recipe=recipe, probe_set=probe_set)
    counts = [batch.trained_count for batch, _ in mixture]
    weights = [weight for _, weight in mixture]
    steps = _step_count(config, counts, weights)
    shapes = _shapes(str(parent.directory))
    config.shapes_check(shapes)
    model = parent.language_model
    example = mean_example(mixture)
    speed = _speed(model, config, example)
    passes = passes_count(
        config,
        material_of(config, mixture, probe_set, steps),
        tensor_shapes=shapes,
        units_per_second=speed.tokens_per_second
        * _units(example, config)
        / max(1.0, example.tokens),
    )
    update_norm, update_basis = _update_norm(model, config)
    forecasted = forecast(
        method=config.method,
        learning_rate=config.learning_rate,
        tensor_shapes=shapes,
        example_counts=counts,
        weights=weights,
        epochs=config.epochs,
        examples_per_step=config.examples_per_step,
        max_steps=config.max_steps,
        schedule=config.schedule,
        warmup_steps=config.warmup_steps,
        tokens_per_example=example.tokens,
        tokens_per_second=speed.tokens_per_second,
        beside_share=passes.beside_share,
        update_norm=update_norm,
    )
    epoch = sum(mixture_counts(counts, weights))
    memory = memory_plan(parent=parent, config=config, mixture=mixture, shapes=shapes)
    warnings = _warnings(
        config,
        mixture,
        shapes,
        examples=min(epoch * config.epochs, forecasted.step_count * config.examples_per_step),
    )
    return Plan(
        config=config,
        step_count=forecasted.step_count,
        examples_per_epoch=epoch,
        displacement=forecasted.displacement,
        displacement_low=forecasted.displacement_low,
        displacement_high=forecasted.displacement_high,
        displacement_basis=update_basis,
        seconds=_seconds(forecasted),
        seconds_basis="; ".join(filter(None, (speed.basis, beside_words(passes)))),
        shares=tuple(shares(mixture)),
        memory_bytes=memory.total_bytes,
        memory_basis=memory.basis,
        memory_methods=memory.methods,
        memory_place=memory.place,
        warnings=tuple(warnings + ([memory.warning] if memory.warning else [])),
    )


def _step_count(config: RunConfig, counts: list[int], weights: list[float]) -> int:
    steps = step_count(
        counts,
        weights,
        epochs=config.epochs,
        examples_per_step=config.examples_per_step,
        max_steps=config.max_steps,
    )
    if steps > STEPS_MAX:
        message = f"this would take {steps:,} steps"
        raise ConfigError("epochs", message, f"Stay below {STEPS_MAX:,} steps.")
    config.steps_check(steps)
    return steps


def _seconds(forecasted: Forecast) -> float:
    if forecasted.seconds is None or not math.isfinite(forecasted.seconds):
        raise ValueError("the forecast has no time although a speed was given")
    return forecasted.seconds


@lru_cache(maxsize=64)
def _shapes(directory: str) -> dict[str, tuple[int, ...]]:
    # A checkpoint never changes once it is there, so its shapes can be remembered.
    return tensor_shapes(Path(directory))


def _warnings(
    config: RunConfig, mixture: Mixture, shapes: Mapping[str, tuple[int, ...]], *, examples: int
) -> list[RecipeWarning]:
    decision = mean_example(mixture).decision_tokens
    general = sum(batch.trained_count for batch, _ in mixture if batch.kind == BatchKind.GENERAL)
    return [
        *recipe_warnings(config, example_count=examples, decision_tokens_per_example=decision),
        *data_warnings(config, example_count=examples, general_count=general, tensor_shapes=shapes),
    ]


def _earlier_runs(model: LanguageModel, config: RunConfig) -> list[Run]:
    """Runs that ended well with this model, method and way to treat the context, newest first."""
    runs = Run.objects.filter(
        parent__language_model=model,
        job__state=JobState.SUCCEEDED,
        recipe__method__name=config.method.name,
        recipe__context_frozen=config.context_frozen,
        recipe__dtype=config.dtype,
    )
    return list(runs.order_by("-created_at")[:5])


def _update_norm(model: LanguageModel, config: RunConfig) -> tuple[float | None, str]:
    for run in _earlier_runs(model, config):
        norm = run.summary.get("update_norm")
        if isinstance(norm, int | float) and math.isfinite(norm) and norm > 0:
            return float(norm), f"what {run.name} measured with the same model and method"
    name = config.method.kind.name
    return None, (
        f"the shapes of the weights alone, since no run of this model with {name} has ended yet: "
        "an order of magnitude"
    )


def _units(example: MeanExample, config: RunConfig, grad_window: int | None = None) -> float:
    """Of learning an example once, at the recipe's gradient window or at another one."""
    window = config.context.grad_window if grad_window is None else grad_window
    return example.units(context_frozen=config.context_frozen, grad_window=window)


def _speed(model: LanguageModel, config: RunConfig, example: MeanExample) -> _Speed:
    """Tokens a second, context and decision together: measured here, or assumed and said so."""
    window, units = config.context.grad_window, _units(example, config)
    for run in _earlier_runs(model, config):
        total = run.summary.get("tokens_per_second")
        if (run.recipe.get("ranks") or {}).get("processes", 1) != config.ranks.processes:
            continue
        if isinstance(total, int | float) and math.isfinite(total) and total > 0:
            basis = f"{total:,.0f} tokens/s, measured in {run.name}"
            then = (run.recipe.get("context") or {}).get("grad_window", 0)
            if then != window:
                total *= _units(example, config, then) / max(units, 1.0)
                basis += f" with a gradient window of {then:,}: {total:,.0f} with this one"
            return _Speed(tokens_per_second=total, basis=basis)
    total = tokens_per_second(
        config,
        example,
        parameters=model.parameter_count,
        operations_per_second=ASSUMED_OPERATIONS_PER_SECOND,
    )
    return _Speed(
        tokens_per_second=total,
        basis=f"assumed: {total:,.0f} tokens/s, as two slow processor cores do; nothing was timed "
        "here yet with this model and method",
    )
