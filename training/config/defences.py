"""Defences against forgetting: what holds the weights near the parent's, what is not learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, number_check, whole_check
from training.config.batch import BatchConfig

EWC_VARIANTS = ("row", "diagonal")
"""One importance for each output row, or one for each weight."""
_DEFAULT_EWC_EXAMPLES = 32


@dataclass(frozen=True, kw_only=True)
class DefencesConfig:
    """What the loss gets on top, (strength / 2) · Σ F (θ − θ_parent)², and what it leaves out."""

    l2_strength: float | None = None
    """λ of L2 toward the parent, where F is 1; None: off."""
    ewc_strength: float | None = None
    """λ of elastic weight consolidation, where F is the Fisher information on general examples, in
    nats a decision token as the loss is, so 1 weighs both alike; None: off."""
    ewc_variant: str | None = None
    """One of EWC_VARIANTS; row where it is left out. Has no meaning without ewc_strength."""
    ewc_examples: int | None = None
    """General examples that F is measured on, one backward each before training; 32 where it is
    left out. Has no meaning without ewc_strength."""
    mask_below_probability: float | None = None
    """Decision tokens that the parent gives a lower probability are read but not learnt; None: all
    are learnt. Takes one forward pass over the examples before training."""

    def __post_init__(self) -> None:
        number_check("defences.l2_strength", self.l2_strength, above=True, optional=True)
        number_check("defences.ewc_strength", self.ewc_strength, above=True, optional=True)
        whole_check("defences.ewc_examples", self.ewc_examples, 1, optional=True)
        number_check(
            "defences.mask_below_probability",
            self.mask_below_probability,
            above=True,
            maximum=1.0,
            optional=True,
        )
        self._ewc_check()

    def _ewc_check(self) -> None:
        if self.ewc_strength is None:
            for name in ("ewc_variant", "ewc_examples"):
                if getattr(self, name) is not None:
                    message = "has no meaning without ewc_strength"
                    raise ConfigError(f"defences.{name}", message, "Set both, or neither.")
            return
        # Filled in, so that a recipe that is kept says what it was made with.
        if self.ewc_variant is None:
            object.__setattr__(self, "ewc_variant", EWC_VARIANTS[0])
        choice_check("defences.ewc_variant", self.ewc_variant, EWC_VARIANTS)
        if self.ewc_examples is None:
            object.__setattr__(self, "ewc_examples", _DEFAULT_EWC_EXAMPLES)

    @property
    def has_penalty(self) -> bool:
        """Whether anything is added to the loss."""
        return self.l2_strength is not None or self.ewc_strength is not None

    def batches_check(self, batches: Sequence[BatchConfig]) -> None:
        """Refuse what the run's batches cannot give; ConfigError names the field."""
        if self.ewc_strength is not None and all(batch.kind != "general" for batch in batches):
            raise ConfigError(
                "defences.ewc_strength",
                "EWC measures on general examples what is to be kept, and no batch is general",
                "Add a batch of kind general, or use l2_strength, which needs none.",
            )
