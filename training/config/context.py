"""How conversations are walked through: what of the context gets gradient, how many at once."""

from dataclasses import dataclass

from engine.checks import ConfigError, whole_check

USUAL_TOGETHER = 4
CONTEXT_TOKENS = 2048
"""Of each conversation, what one pass without gradient reads; a longer context takes several."""
GATHERED_TOKENS = 256
"""Tokens of decisions that share a backward: enough for matrix products at full speed, and few
enough for their graph to take less memory than the gradients do."""
USUAL_TOKENS_TOGETHER = 2048
"""Where a recipe does not say how many. On two cores SmolLM2-135M learnt 4 conversations of 80
tokens 1.8 times as fast together as one by one, of 360 tokens 1.3 times."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """How conversations are walked through."""

    grad_window: int = 0
    """The last so many context tokens before each decision run with gradient, for each decision
    again; of frozen context only. 0: none but the very last, which predicts the first decision
    token."""
    conversations_at_once: int | None = None
    """Conversations of a step that are walked side by side, where their lengths allow it; never
    more than examples_per_step. None: up to 4, while they have 2,048 tokens together at most, for
    longer ones gain little and take memory. The result is the same but for rounding."""

    def __post_init__(self) -> None:
        whole_check("context.grad_window", self.grad_window, 0)
        whole_check("context.conversations_at_once", self.conversations_at_once, 1, optional=True)

    def together(self, examples_per_step: int) -> int:
        """Return the most conversations that are walked side by side."""
        if self.conversations_at_once is None:
            return min(USUAL_TOGETHER, examples_per_step)
        return self.conversations_at_once

    def together_at_length(self, examples_per_step: int, tokens: int) -> int:
        """Return the most conversations of up to so many tokens that are walked side by side."""
        together = self.together(examples_per_step)
        if self.conversations_at_once is None:
            # Rounded up: those somewhat shorter than the longest fit once more.
            together = min(together, -(-USUAL_TOKENS_TOGETHER // max(1, tokens)))
        return together

    def run_check(self, *, context_frozen: bool, examples_per_step: int) -> None:
        """Refuse what the rest of the recipe leaves without meaning, by name."""
        if self.grad_window and not context_frozen:
            raise ConfigError(
                "context.grad_window",
                "has no meaning where all of the context gets gradient",
                "Set it to 0, or freeze the context.",
            )
        if self.together(examples_per_step) > examples_per_step:
            raise ConfigError(
                "context.conversations_at_once",
                f"is more than the {examples_per_step} examples of a step",
                "Lower it, or raise examples_per_step.",
            )
