"""What a run computes, pass by pass, before it starts: training, and everything beside it.

In units of one token's forward, 2 N operations with N the parameters; a token with gradient takes
3, one whose layers are computed again in the backward 4. Left out is what grows with the weights
alone (the optimizer's step, displacement, gradient sparsity) and the check of the model at load. No
torch here: the portal forecasts with this module.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.config import RunConfig
from training.frozen.stretches import mean_arithmetic
from training.measures.budget import RANK_SECONDS_MIN

RECOMPUTED_UNITS = 4
"""A token's forward, its forward again in the backward, and the backward, in forwards."""
KL_TOKENS_PER_EXAMPLE = 32
"""Of the divergence: the first decision tokens of an example; more examples say more than more of
one."""
SHARPNESS_TOKENS = 1024
"""At most so many are in the batch on which sharpness is measured."""
_SHARPNESS_LOSSES = 3


@dataclass(frozen=True, kw_only=True)
class MeanExample:
    """What an example holds on average; only means are known before a run."""

    context_tokens: float
    decision_tokens: float
    decisions: float

    @property
    def tokens(self) -> float:
        """Context and decision tokens together."""
        return self.context_tokens + self.decision_tokens

    def units(self, *, context_frozen: bool, grad_window: int) -> float:
        """Of learning it once."""
        return mean_arithmetic(
            context_tokens=self.context_tokens,
            decision_tokens=self.decision_tokens,
            decisions=self.decisions,
            context_frozen=context_frozen,
            grad_window=grad_window,
        )

    def tokens_until(self, targets: float) -> float:
        """Tokens up to the first so many of its decision tokens."""
        own = self.decision_tokens / max(1.0, self.decisions)
        reached = min(self.decisions, math.ceil(targets / max(1.0, own)))
        context = self.context_tokens * reached / max(1.0, self.decisions)
        return context + min(targets, self.decision_tokens)


def tokens_per_second(
    config: RunConfig, example: MeanExample, *, parameters: float, operations_per_second: float
) -> float:
    """Return how fast examples are learnt, context and decision together, by arithmetic alone.

    operations_per_second: what the machine is thought to do, all its cards together.
    """
    units = example.units(
        context_frozen=config.context_frozen, grad_window=config.context.grad_window
    )
    return operations_per_second * example.tokens / max(2.0 * parameters * units, 1.0)


@dataclass(frozen=True, kw_only=True)
class ProbeSize:
    """A set of texts whose perplexity is watched."""

    tokens: float
    is_general: bool
    """Whether the brake goes by it."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run goes through."""

    step_count: int
    examples: float
    """Learnt in all, over all epochs."""
    distinct: float
    """Different ones among them."""
    mean: MeanExample
    """Of those that are learnt."""
    general: MeanExample | None = None
    """Of general examples; None where there are none."""
    general_count: int = 0
    probes: Sequence[ProbeSize] = ()


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Units of a run, by what they are for."""

    training: float
    ewc: float = 0.0
    """Measuring what elastic weight consolidation keeps."""
    masking: float = 0.0
    """Looking for unlikely tokens."""
    watching: float = 0.0
    """Perplexity of held-out text and divergence from the parent."""
    measuring: float = 0.0
    """The gradient's cosine, sharpness and the rank of the change."""

    @property
    def beside(self) -> float:
        """Everything but training."""
        return self.ewc + self.masking + self.watching + self.measuring

    @property
    def beside_share(self) -> float:
        """`beside` ÷ training."""
        return self.beside / self.training if self.training else 0.0


def passes_count(
    config: RunConfig,
    material: Material,
    *,
    tensor_shapes: Mapping[str, tuple[int, ...]],
    units_per_second: float | None = None,
) -> Passes:
    """Count what a run will compute.

    tensor_shapes: of the parent. units_per_second: the speed it is thought to run at, for what is
    limited by seconds; None: as if that took no time.
    """
    frozen, window = config.context_frozen, config.context.grad_window
    training = material.examples * material.mean.units(context_frozen=frozen, grad_window=window)
    masked = config.defences.mask_below_probability is not None
    return Passes(
        training=training,
        ewc=ewc_units(config, material),
        masking=material.distinct * material.mean.tokens if masked else 0.0,
        watching=watching_units(config, material, training),
        measuring=measuring_units(
            config, material, training, tensor_shapes, units_per_second=units_per_second
        ),
    )


def ewc_units(config: RunConfig, material: Material) -> float:
    """Of one backward through each general example that EWC asks for."""
    if config.defences.ewc_strength is None or material.general is None:
        return 0.0
    count = min(config.defences.ewc_examples or 0, material.general_count)
    return RECOMPUTED_UNITS * count * material.general.tokens


def watching_units(config: RunConfig, material: Material, training: float) -> float:
    """Of all looks: the parent's before training, those within their share, and the last."""
    every, steps = config.watch.watch_every_steps, material.step_count
    if not every:
        return 0.0
    has_brake = config.watch.brake_rise is not None
    exact = sum(probe.tokens for probe in material.probes if has_brake and probe.is_general)
    others = sum(probe.tokens for probe in material.probes) - exact
    at_multiples = -(-steps // every)  # the last step counts as one
    units = exact * (1 + at_multiples)
    first = 0 if every == 1 or steps == 1 else 1  # after the first step too, within the share
    for look in (others, divergence_tokens(config, material)):
        units += 2 * look + _within_share(config, look, at_multiples - 1 + first, training)
    return units


def divergence_tokens(config: RunConfig, material: Material) -> float:
    """Tokens that are read at each look for the divergence from the parent."""
    wanted = config.watch.watch_kl_tokens
    each = min(float(KL_TOKENS_PER_EXAMPLE), material.mean.decision_tokens, float(wanted))
    if each <= 0:
        return 0.0
    count = min(material.distinct, math.ceil(wanted / each))
    return count * material.mean.tokens_until(each)


def measuring_units(
    config: RunConfig,
    material: Material,
    training: float,
    tensor_shapes: Mapping[str, tuple[int, ...]],
    *,
    units_per_second: float | None = None,
) -> float:
    """Of the diagnostics that the recipe asks for, each within its share of the training."""
    settings, steps = config.diagnostics, material.step_count
    share = settings.diagnostics_share
    live = config.ranks.sharding == "none"
    units = 0.0
    if settings.gradient_cosine and config.context_frozen and live:
        once = cosine_units(config, material.mean)
        units += once * min(steps, math.floor(share * training / max(1.0, once)))
    if settings.sharpness and config.dtype == "float32" and live:
        once = _SHARPNESS_LOSSES * sharpness_tokens(material)
        units += once + _within_share(config, once, steps - 1, training)
    if settings.change_rank and not config.method.kind.is_adapter:
        limit = max(share * training, RANK_SECONDS_MIN * (units_per_second or 0.0))
        units += min(rank_units(tensor_shapes), limit)
    return units


def cosine_units(config: RunConfig, example: MeanExample) -> float:
    """Of one example's frozen gradient and its full one."""
    frozen = example.units(context_frozen=True, grad_window=config.context.grad_window)
    return frozen + RECOMPUTED_UNITS * example.tokens


def sharpness_tokens(material: Material) -> float:
    """Tokens of the batch on which sharpness is measured: half of its limit is filled at least."""
    each = max(1.0, material.mean.tokens)
    fitting = max(1, math.floor(SHARPNESS_TOKENS / each))
    wanted = math.floor(SHARPNESS_TOKENS / 2 / each) + 1
    return each * min(fitting, wanted, max(1.0, material.distinct))


def rank_operations(shape: tuple[int, ...]) -> float:
    """Return about how many operations a matrix's ranks take: its Gram matrix and eigenvalues."""
    side = min(shape)
    return 1.25 * max(shape) * side**2 + 5.0 * side**3


def rank_units(tensor_shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Of measuring the rank of every matrix's change once."""
    parameters = sum(map(math.prod, tensor_shapes.values()))
    matrices = [shape for shape in tensor_shapes.values() if len(shape) == 2]
    return sum(map(rank_operations, matrices)) / max(1.0, 2.0 * parameters)


def _within_share(config: RunConfig, once: float, times: int, training: float) -> float:
    """Of something that may come so many times, but takes its share of the training at most."""
    return min(times * once, config.diagnostics.diagnostics_share * training)
