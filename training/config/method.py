"""The method: how gradients become updates."""

from dataclasses import dataclass

from engine.checks import choice_check, number_check, whole_check
from training.methods import METHODS as _METHODS
from training.methods import method_of
from training.methods.apollo import Apollo
from training.methods.method import Method

METHODS = tuple(_METHODS)
IMPLEMENTATIONS = tuple(Apollo.implementations)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """How gradients become updates."""

    name: str = "apollo"
    """One of METHODS."""
    implementation: str | None = None
    """One of IMPLEMENTATIONS, for apollo and apollo_mini only; ftportal where it is left out."""
    rank: int | None = None
    """Of the projected gradient (apollo, 256) or of the adapter (lora, 16); apollo_mini has 1."""
    scale: float | None = None
    """Square of the factor on APOLLO's update: smaller side / rank for apollo, 128 for
    apollo_mini."""
    lora_alpha: float | None = None
    """The adapter's product counts alpha / rank times; twice the rank by default. lora only."""

    def __post_init__(self) -> None:
        method = method_of(self.name)
        whole_check("method.rank", self.rank, 1, optional=True)
        number_check("method.scale", self.scale, above=True, optional=True)
        number_check("method.lora_alpha", self.lora_alpha, above=True, optional=True)
        method.check(self)
        if method.implementations:
            # Filled in, so that a recipe that is kept says what it was made with.
            default = next(iter(method.implementations))
            object.__setattr__(self, "implementation", self.implementation or default)
            choice_check(
                "method.implementation", self.implementation, tuple(method.implementations)
            )

    @property
    def kind(self) -> Method:
        """What the method is and does."""
        return method_of(self.name)
