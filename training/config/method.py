"""The method: how gradients become updates."""

from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, number_check, whole_check

METHODS = ("apollo", "apollo_mini", "lora", "adamw")
APOLLO_METHODS = ("apollo", "apollo_mini")
IMPLEMENTATIONS = ("ftportal", "apollo-torch")
"""Of the APOLLO methods: training/methods/apollo.py, or the authors' package (CC-BY-NC 4.0)."""
_DEFAULT_RANKS = {"apollo": 256, "apollo_mini": 1, "lora": 16, "adamw": None}


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
        choice_check("method.name", self.name, METHODS)
        whole_check("method.rank", self.rank, 1, optional=True)
        number_check("method.scale", self.scale, above=True, optional=True)
        number_check("method.lora_alpha", self.lora_alpha, above=True, optional=True)
        if self.rank is not None and self.name == "adamw":
            self._refuse("rank")
        if self.name == "apollo_mini" and self.rank not in (None, 1):
            raise ConfigError("method.rank", "APOLLO-Mini has rank 1", "Use apollo, or rank 1.")
        if self.scale is not None and self.name not in APOLLO_METHODS:
            self._refuse("scale")
        self._check_implementation()
        if self.lora_alpha is not None and self.name != "lora":
            self._refuse("lora_alpha")

    def _check_implementation(self) -> None:
        """Fill in the default, so that a recipe that is kept says what it was made with."""
        if self.name not in APOLLO_METHODS:
            if self.implementation is not None:
                self._refuse("implementation")
            return
        if self.implementation is None:
            object.__setattr__(self, "implementation", IMPLEMENTATIONS[0])
        choice_check("method.implementation", self.implementation, IMPLEMENTATIONS)

    def _refuse(self, name: str) -> None:
        raise ConfigError(f"method.{name}", f"has no meaning for {self.name}", "Leave it out.")

    @property
    def effective_rank(self) -> int | None:
        """The rank in force; None for adamw."""
        return self.rank or _DEFAULT_RANKS[self.name]

    @property
    def effective_alpha(self) -> float:
        """LoRA's alpha in force."""
        return self.lora_alpha or 2.0 * (self.effective_rank or 0)

    def rank_of(self, shape: tuple[int, ...]) -> int:
        """Return APOLLO's rank for a matrix: never more than its smaller side."""
        return min(self.effective_rank or 1, *shape)

    def scale_of(self, shape: tuple[int, ...]) -> float:
        """Return APOLLO's scale for a matrix: n / r with n its smaller side, unless it was set.

        The update is multiplied by the square root of this.
        """
        if self.scale is not None:
            return self.scale
        return 128.0 if self.name == "apollo_mini" else min(shape) / self.rank_of(shape)
