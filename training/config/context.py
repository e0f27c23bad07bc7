"""How conversations are walked through: what of the context gets gradient, how many at once."""

from dataclasses import dataclass

from training.config.checks import ConfigError, whole_check


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """How conversations are walked through."""

    grad_window: int = 0
    """The last so many context tokens before each decision run with gradient, for each decision
    anew; of frozen context only. 0: none but the very last, which predicts the first decision
    token."""
    conversations_at_once: int = 1
    """Conversations of a step that are walked side by side, where their lengths allow it; never
    more than examples_per_step. The result is the same but for rounding."""

    def __post_init__(self) -> None:
        whole_check("context.grad_window", self.grad_window, 0)
        whole_check("context.conversations_at_once", self.conversations_at_once, 1)

    def run_check(self, *, context_frozen: bool, examples_per_step: int) -> None:
        """Refuse what the rest of the recipe leaves without meaning, by name."""
        if self.grad_window and not context_frozen:
            raise ConfigError(
                "context.grad_window",
                "has no meaning where all of the context gets gradient",
                "Set it to 0, or freeze the context.",
            )
        if self.conversations_at_once > examples_per_step:
            raise ConfigError(
                "context.conversations_at_once",
                f"is more than the {examples_per_step} examples of a step",
                "Lower it, or raise examples_per_step.",
            )
