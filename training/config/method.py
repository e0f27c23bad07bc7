"""The method: how gradients become updates."""

from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, number_check, whole_check
from training.config.defences import DefencesConfig
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

    base_bits: int | None = None
    """8 or 4: the weights beside the adapter are held in so many bits while it trains, with the
    package bitsandbytes on a CUDA GPU; the adapter is merged into the weights as the parent's files
    have them. None: they are held in dtype. lora only."""

    def __post_init__(self) -> None:
        method = method_of(self.name)
        whole_check("method.rank", self.rank, 1, optional=True)
        number_check("method.scale", self.scale, above=True, optional=True)
        number_check("method.lora_alpha", self.lora_alpha, above=True, optional=True)
        method.check(self)
        if self.base_bits is not None and (
            isinstance(self.base_bits, bool) or self.base_bits not in method.base_bits
        ):
            cure = f"Use {' or '.join(map(str, method.base_bits))}, or leave it out."
            raise ConfigError("method.base_bits", f"{self.base_bits!r} is not known", cure)
        if method.implementations:
            # Filled in, so that a recipe that is kept says what it was made with.
            default = next(iter(method.implementations))
            object.__setattr__(self, "implementation", self.implementation or default)
            choice_check(
                "method.implementation", self.implementation, tuple(method.implementations)
            )

    def base_check(self, defences: DefencesConfig, device: str) -> None:
        """Refuse a quantised base with what it cannot honour; ConfigError names it."""
        if self.base_bits is None:
            return
        if device == "cpu":
            message = f"a base in {self.base_bits} bit needs a CUDA GPU, and device is cpu"
            raise ConfigError("method.base_bits", message, "Leave it out, or set device to cuda.")
        if defences.ewc_strength is not None:
            message = (
                "EWC needs the gradient of the weights themselves, which a base in "
                f"{self.base_bits} bit has none of"
            )
            cure = "Use l2_strength, or leave method.base_bits out."
            raise ConfigError("defences.ewc_strength", message, cure)

    @property
    def kind(self) -> Method:
        """What the method is and does."""
        return method_of(self.name)
