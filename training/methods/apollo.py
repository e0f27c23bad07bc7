"""APOLLO (Zhu et al., arXiv 2412.05270): moments of a random projection of each matrix's gradient.

The mathematics are in `training.optimizers.apollo`. α of the paper is √scale, so α = √(n/r) for a
matrix whose smaller side is n means scale n/r.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from engine.tensornames import is_projected
from training.methods.method import FLOAT32_BYTES, OPTIMIZER, Lever, Method, Settings, Shapes

OWN, REFERENCE = "ftportal", "apollo-torch"
_LIMITER_SHARE = 0.5
"""Of the update that the projection would give, what the norm-growth limiter lets through."""


class Apollo(Method):
    """Channel-wise scaling, rank 256."""

    key = "apollo"
    name = "APOLLO"
    help = "Trains every weight with little memory; rank 256."
    order = 1
    safe_rates = (1e-5, 1e-4)
    settings = frozenset({"rank", "scale", "implementation"})
    implementations = {OWN: OWN, REFERENCE: f"{REFERENCE} (CC-BY-NC 4.0)"}
    default_rank = 256
    cuts_larger_side = True  # then a part of a matrix has all of each of its channels
    lever = Lever("use APOLLO-Mini or LoRA as method, or lower rank", (OPTIMIZER,))
    scale_type: ClassVar[str] = "channel"

    def rank_of(self, settings: Settings, shape: tuple[int, ...]) -> int:
        """Return the rank for a matrix: never more than its smaller side."""
        return min(self.rank(settings.rank) or 1, *shape[-2:])

    def scale_of(self, settings: Settings, shape: tuple[int, ...]) -> float:
        """Return the square of the factor on a matrix's update: n / r, unless it was set."""
        return settings.scale or min(shape[-2:]) / self.rank_of(settings, shape)

    def sharding_refusal(self, settings: Settings) -> str | None:
        """Refuse the authors' package, which would project parts as if they were matrices."""
        return f"by {REFERENCE} needs whole matrices" if self._is_reference(settings) else None

    def card_words(self, settings: Settings) -> str:
        """Return it with the package that made the updates, where that is the authors'."""
        by = f" by {self.implementations[REFERENCE]}" if self._is_reference(settings) else ""
        return f"{super().card_words(settings)}{by}"

    def is_non_commercial(self, implementation: str | None) -> bool:
        """Whether the authors' package would train, whose licence is CC-BY-NC 4.0."""
        return implementation == REFERENCE

    def keeps_float32_moments(self, implementation: str | None) -> bool:
        """Whether ftportal's own trains: the authors' moments have the weights' type."""
        return implementation != REFERENCE

    def update_norm(self, settings: Settings, shapes: Shapes) -> float:
        """Return the norm of one update at rate 1; what is not projected moves as with AdamW."""
        return math.sqrt(sum(self._squared(settings, name, s) for name, s in shapes.items()))

    def _squared(self, settings: Settings, name: str, shape: tuple[int, ...]) -> float:
        count = float(math.prod(shape))
        if not is_projected(name, shape):
            return count
        return count * self._projected_share(settings, shape)

    def _projected_share(self, settings: Settings, shape: tuple[int, ...]) -> float:
        scale, rank = self.scale_of(settings, shape), self.rank_of(settings, shape)
        return _LIMITER_SHARE**2 * scale * rank / min(shape[-2:])

    def optimizer_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of moments and projections."""
        own = self.keeps_float32_moments(settings.implementation)
        moment = FLOAT32_BYTES if own else number_bytes
        total = 0
        for name, shape in shapes.items():
            if is_projected(name, shape):
                rank = self.rank_of(settings, shape)
                sides, matrices = shape[-2:], math.prod(shape[:-2])
                total += 2 * moment * rank * max(sides) * matrices
                total += number_bytes * rank * min(sides)  # the projection itself
            else:
                total += 2 * moment * math.prod(shape)
        return total

    def uncut_bytes(
        self, settings: Settings, shapes: Shapes, number_bytes: int, processes: int
    ) -> int:
        """Return the size of all projections, and of the moments of matrices that are cut along
        their smaller side, whose channels every process has."""
        total = 0
        for name, shape in shapes.items():
            if is_projected(name, shape):
                rank = self.rank_of(settings, shape)
                total += number_bytes * rank * min(shape[-2:])
                if len(shape) == 2 and shape[0] < shape[1] and shape[1] % processes:
                    total += 2 * FLOAT32_BYTES * rank * shape[1]
        return total

    def step_bytes(self, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of two copies of what is not projected, and of the largest matrix."""
        plain = [math.prod(s) for name, s in shapes.items() if not is_projected(name, s)]
        projected = (math.prod(s) for name, s in shapes.items() if is_projected(name, s))
        copies = 1 if number_bytes == FLOAT32_BYTES else 2
        return FLOAT32_BYTES * (copies * sum(plain) + 2 * max(projected, default=0))

    def optimizer(
        self, model: Any, settings: Settings, *, rate: float, weight_decay: float, seed: int
    ) -> Any:
        """Return ftportal's own, or the authors' where the recipe says so."""
        from training.optimizers import groups, reference

        parts = groups.projected_groups(
            model,
            weight_decay=weight_decay,
            scale_type=self.scale_type,
            stacks=not self._is_reference(settings),
            rank_and_scale=lambda s: (self.rank_of(settings, s), self.scale_of(settings, s)),
        )
        if self._is_reference(settings):
            return reference.apollo_torch_create(parts, rate)
        return groups.apollo_create(parts, rate=rate, seed=seed)

    @contextmanager
    def state_loading(self, settings: Settings) -> Iterator[None]:
        """Allow the one class that the authors' states hold, where theirs is meant."""
        from training.optimizers import reference

        with reference.state_loading(own=not self._is_reference(settings)):
            yield

    def state_settle(self, optimizer: Any, settings: Settings) -> None:
        """Move the authors' projections to their parameters' devices."""
        from training.optimizers import reference

        if self._is_reference(settings):
            reference.projections_move(optimizer)

    def _is_reference(self, settings: Settings) -> bool:
        return settings.implementation == REFERENCE


METHOD = Apollo()
