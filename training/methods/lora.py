"""LoRA (Hu et al., arXiv 2106.09685): an adapter on every linear layer but the head.

Its base can be held in 8 or 4 bit while it trains (QLoRA, Dettmers et al., arXiv 2305.14314).
"""

import math
from typing import Any

from engine.checks import ConfigError
from engine.tensornames import is_projected
from training.methods.method import (
    FLOAT32_BYTES,
    GRADIENTS,
    OPTIMIZER,
    Lever,
    Method,
    Settings,
    Shapes,
)

_BLOCK_NUMBERS = 64
"""Numbers of a weight that share one float32 scale."""
_SCALES_TOGETHER = 256
"""In 4 bit the scales are held in 8 bit, so many with one float32 scale of their own."""


class LoRA(Method):
    """W + (α/r)·B·A, of which B and A are trained, in float32."""

    key = "lora"
    name = "LoRA"
    help = "Trains a small adapter and merges it: forgets less, learns less."
    order = 3
    safe_rates = (1e-4, 3e-4)
    settings = frozenset({"rank", "lora_alpha", "base_bits"})
    default_rank = 16
    is_adapter = True
    base_bits = (8, 4)
    lever = Lever("lower rank", (OPTIMIZER, GRADIENTS))
    remedy = (
        "It trains a small adapter beside the frozen weights and merges it: fewer ways to move, so "
        "it forgets less. It also learns less."
    )

    def alpha(self, settings: Settings) -> float:
        """Return α in force: twice the rank by default."""
        return settings.lora_alpha or 2.0 * (self.rank(settings.rank) or 0)

    def shapes_check(self, settings: Settings, shapes: Shapes) -> None:
        """Refuse an adapter that is larger than what it adapts."""
        rank = self.rank(settings.rank) or 1
        sides = [min(shape) for shape in _adapted(shapes)]
        if sides and rank > max(sides):
            raise ConfigError(
                "method.rank",
                f"{rank:,} is above the smaller side of every matrix of this model",
                f"Use a rank of at most {max(sides):,}, or train every weight.",
            )

    def card_words(self, settings: Settings) -> str:
        """Return it with what became of the adapter."""
        words = super().card_words(settings)
        if settings.base_bits is None:
            return f"{words}, merged into the weights"
        return (
            f"{words} beside a base that was held in {settings.base_bits} bit, merged into the "
            "weights as the parent's files have them"
        )

    def sharding_refusal(self, settings: Settings) -> str | None:
        """Return that weights which are held in few bits are not cut."""
        if settings.base_bits is None:
            return None
        return f"with a base in {settings.base_bits} bit holds all of it in every process"

    def update_norm(self, settings: Settings, shapes: Shapes) -> float:
        """Return ‖(α/r)·B·A‖ at rate 1 after one step, B's entries ±1, A's of variance 1/(3·in)."""
        rank = self.rank(settings.rank) or 1
        total = sum(shape[0] * rank / 3 for shape in _adapted(shapes))
        return self.alpha(settings) / rank * math.sqrt(total)

    def trained_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the adapter's size: always float32."""
        rank = self.rank(settings.rank) or 1
        return FLOAT32_BYTES * rank * sum(map(sum, _adapted(shapes)))

    def base_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of the weights, those that are quantised with their scales."""
        whole = super().base_bytes(settings, shapes, number_bytes)
        if settings.base_bits is None:
            return whole
        return whole - sum(
            number_bytes * math.prod(shape) - quantised_bytes(math.prod(shape), settings.base_bits)
            for shape in _quantised(shapes)
        )

    def restored_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the largest quantised weight as it is multiplied with."""
        if settings.base_bits is None:
            return 0
        return number_bytes * max(map(math.prod, _quantised(shapes)), default=0)

    def attach(self, model: Any, settings: Settings) -> Any:
        """Return the model with a LoRA adapter on every linear layer that is taught but the head,
        and on the experts of a layer that are one tensor."""
        from training.tensors.adapting import adapter_attach

        return adapter_attach(model, self.rank(settings.rank) or 1, self.alpha(settings))


def quantised_bytes(numbers: int, bits: int) -> int:
    """Return the size of a quantised weight: 8 bit with a float32 scale for each 64 numbers, 4 bit
    with one in 8 bit."""
    blocks = -(-numbers // _BLOCK_NUMBERS)
    if bits == 8:
        return numbers + FLOAT32_BYTES * blocks
    return -(-numbers // 2) + blocks + FLOAT32_BYTES * -(-blocks // _SCALES_TOGETHER)


def _quantised(shapes: Shapes) -> list[tuple[int, ...]]:
    """The shapes of what is quantised: layers' matrices, not those of experts, which are one tensor
    in the model."""
    return [
        shape
        for name, shape in shapes.items()
        if len(shape) == 2 and is_projected(name, shape) and ".experts." not in name
    ]


def _adapted(shapes: Shapes) -> list[tuple[int, ...]]:
    """The shapes of all matrices that are adapted, those of a stack one by one."""
    return [
        shape[-2:]
        for name, shape in shapes.items()
        if is_projected(name, shape)
        for _ in range(math.prod(shape[:-2]))
    ]


METHOD = LoRA()
