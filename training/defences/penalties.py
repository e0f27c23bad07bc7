"""L2 toward the parent and elastic weight consolidation, as exact gradients once a step.

L = L_task + (λ/2) Σ F_i (θ_i − θ*_i)², θ* the parent's weights as this run loaded them and F = 1
(L2) or the Fisher information (EWC, training/defences/fisher.py). The gradient λ F (θ − θ*) is
added to what backward has left, when a step's microbatches are all done and before clipping; so the
penalty counts once a step, however many examples or decisions the step has.

Where ranks share the model, each pulls at its part, and knows F of that.

Memory: without LoRA, a copy of the trained weights in their dtype; EWC's F beside it, float32, one
number a row or one a weight; and three float32 matrices while the gradient is added. With LoRA
nothing is copied, for θ − θ* is the adapter's product itself, s·B·A: its gradient G is computed
matrix by matrix and passed on exactly, to B as s·G·Aᵀ and to A as s·Bᵀ·G.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from engine.attempt import Attempt
from engine.checks import ConfigError
from training.config import DefencesConfig, RunConfig
from training.defences.fisher import fisher_measure, fisher_samples
from training.frozen.reader import base_model
from training.ranks.group import ALONE, Ranks
from training.ranks.sharding import Holding
from training.samples import Pool
from training.tensors.parts import held, part_like


class _Moved(Protocol):
    """A weight that training moves away from the parent's."""

    def delta(self) -> torch.Tensor:
        """Return θ − θ*, float32."""
        ...

    def pull(self, gradient: torch.Tensor) -> None:
        """Add a gradient of the weight, in its shape."""
        ...


class _Plain:
    """A weight that is trained itself."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.parent = held(weight.detach()).clone()

    def delta(self) -> torch.Tensor:
        return held(self.weight).float() - self.parent.float()

    def pull(self, gradient: torch.Tensor) -> None:
        if self.weight.grad is None:
            self.weight.grad = part_like(gradient.to(self.weight.dtype), self.weight)
        else:
            held(self.weight.grad).add_(gradient)


class _Adapted:
    """A weight that LoRA's product is added to."""

    def __init__(self, module: Any) -> None:
        self.into: nn.Module = module.lora_A["default"]
        self.out: nn.Module = module.lora_B["default"]
        self.scale: float = module.scaling["default"]
        self.transposed = bool(getattr(module, "fan_in_fan_out", False))

    @property
    def factors(self) -> tuple[Any, Any]:
        """A (rank, inputs) and B (outputs, rank)."""
        return self.into.weight, self.out.weight

    def delta(self) -> torch.Tensor:
        a, b = self.factors
        product = self.scale * (b.float() @ a.float())  # (outputs, inputs)
        return product.T if self.transposed else product

    def pull(self, gradient: torch.Tensor) -> None:
        a, b = self.factors
        own = gradient.T if self.transposed else gradient
        to_a = self.scale * (b.float().T @ own)
        _add(b, self.scale * (own @ a.float().T))
        _add(a, to_a)


def _add(weight: nn.Parameter, gradient: torch.Tensor) -> None:
    if weight.grad is None:
        weight.grad = gradient.to(weight.dtype)
    else:
        weight.grad.add_(gradient)


def moved_weights(model: nn.Module) -> dict[str, tuple[nn.Parameter | None, _Moved]]:
    """Return by name the stored weight and how it moves, of every weight that training changes.

    The weight is None where the base is held in few bits, and nothing but the adapter moves.
    """
    base = base_model(model)
    _layers_alone_adapted(base)
    adapted = {
        f"{name}.base_layer.weight": module
        for name, module in base.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }
    moved: dict[str, tuple[nn.Parameter | None, _Moved]] = {
        name: (weight, _Adapted(adapted[name]) if name in adapted else _Plain(weight))
        for name, weight in base.named_parameters()
        if name in adapted or (weight.requires_grad and ".lora_" not in name)
    }
    quantised = {
        name: (None, _Adapted(module)) for name, module in adapted.items() if name not in moved
    }
    return moved | quantised


def _layers_alone_adapted(base: nn.Module) -> None:
    """Refuse adapters whose product is not that of two matrices; ConfigError names the first."""
    for name, module in base.named_modules():
        if getattr(module, "num_experts", 1) > 1 and hasattr(module, "lora_A"):
            message = f"L2 and EWC are not made for LoRA over experts, such as {name}"
            raise ConfigError("defences", message, "Leave them out, or use another method.")


class ParentPenalty:
    """The pull toward the parent, whose weights the model has when this is made."""

    def __init__(
        self,
        weights: Mapping[str, _Moved],
        fisher: Mapping[str, torch.Tensor],
        defences: DefencesConfig,
        ranks: Ranks = ALONE,
    ) -> None:
        """fisher: F by name; a weight that is missing has F = 0. ranks: those that have parts of
        the weights, each of which pulls at its own."""
        self._ranks = ranks
        self._weights = [(weight, fisher.get(name)) for name, weight in weights.items()]
        self._l2 = defences.l2_strength
        self._ewc = defences.ewc_strength

    @torch.no_grad()
    def gradient_add(self) -> dict[str, float]:
        """Add the penalty's gradient to `.grad`, once a step; return its value in nats by name."""
        sums: dict[str, torch.Tensor] = {}
        for weight, fisher in self._weights:
            delta = weight.delta()
            for name, strength in self._strengths(fisher).items():
                pull = strength * delta
                value = 0.5 * (pull * delta).sum()
                sums[name] = sums[name] + value if name in sums else value
                weight.pull(pull)
        values = self._ranks.sums({name: value.item() for name, value in sums.items()})
        return {f"penalty_nats/{name}": value for name, value in values.items()}

    def _strengths(self, fisher: torch.Tensor | None) -> dict[str, float | torch.Tensor]:
        """λ F of a weight by penalty."""
        strengths: dict[str, float | torch.Tensor] = {}
        if self._l2 is not None:
            strengths["l2"] = self._l2
        if self._ewc is not None and fisher is not None:
            strengths["ewc"] = self._ewc * fisher
        return strengths


def penalty_prepare(
    config: RunConfig,
    holding: Holding,
    pools: Sequence[Pool],
    attempt: Attempt,
    device: torch.device,
) -> ParentPenalty | None:
    """Return the recipe's penalty, None where it has none; the model has the parent's weights.

    A resumed run measures F again: parent, examples and seed are the same, so F is.
    """
    defences = config.defences
    if not defences.has_penalty:
        return None
    holding.at_rest()
    weights = moved_weights(holding.model)
    fisher: dict[str, torch.Tensor] = {}
    if defences.ewc_strength is not None:  # refused where the base is held in few bits
        stored = {name: weight for name, (weight, _) in weights.items() if weight is not None}
        fisher = _fisher(config, holding, stored, pools, attempt, device)
    moved = {name: one for name, (_, one) in weights.items()}
    return ParentPenalty(moved, fisher, defences, holding.ranks if holding.sharded else ALONE)


def _fisher(
    config: RunConfig,
    holding: Holding,
    weights: Mapping[str, nn.Parameter],
    pools: Sequence[Pool],
    attempt: Attempt,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    wanted = config.defences.ewc_examples or 0
    samples = fisher_samples(pools, wanted, config.seed)
    if len(samples) < wanted:
        message = f"only {len(samples)} general examples are there for EWC, not {wanted}"
        attempt.events.warning(where="defences.ewc_examples", message=message)
    own = -(-len(samples) // holding.ranks.count)
    fisher = fisher_measure(
        base_model(holding.model),
        weights,
        samples,
        variant=config.defences.ewc_variant or "row",
        device=device,
        on_example=_progress(attempt, len(samples) if holding.sharded else own),
        ranks=holding.ranks,
        sharded=holding.sharded,
    )
    holding.at_rest()
    attempt.check_stop()
    return fisher


def _progress(attempt: Attempt, total: int) -> Callable[[int], None]:
    def say(done: int) -> None:
        attempt.check_stop()
        attempt.events.progress(
            done=done, total=total, unit="examples", phase="measuring what EWC keeps"
        )

    return say
