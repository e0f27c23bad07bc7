"""How many processes share a run, and what each of them holds."""

from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, whole_check
from training.config.defences import DefencesConfig
from training.config.method import MethodConfig

AUTO = "auto"
SHARDINGS = ("none", "fsdp2")
BUCKET_NUMBERS = 1 << 25
"""Gradient numbers in one message between whole copies: 128 MB in float32."""


@dataclass(frozen=True, kw_only=True)
class RanksConfig:
    """How many processes share a run, and what each of them holds."""

    processes: int | str = 1
    """Processes that share every step's examples, one a GPU, or sharing the CPU where there is no
    GPU; auto: as many as there are GPUs."""
    sharding: str = "none"
    """One of SHARDINGS. none: every process holds the whole model. fsdp2: each holds its part of
    the weights, gradients and optimizer state, and no process ever has the whole model."""

    def __post_init__(self) -> None:
        if self.processes != AUTO:
            if isinstance(self.processes, str):
                cure = f'Write a whole number of at least 1, or "{AUTO}".'
                raise ConfigError("ranks.processes", f"{self.processes!r} is not valid", cure)
            whole_check("ranks.processes", self.processes, 1)
        choice_check("ranks.sharding", self.sharding, SHARDINGS)
        if self.sharding != "none" and self.processes == 1:
            message = "one process has nobody to share the model with"
            raise ConfigError("ranks.sharding", message, "Use more processes, or none.")

    def recipe_check(self, method: MethodConfig, defences: DefencesConfig) -> None:
        """Refuse sharding with what needs whole matrices; ConfigError names it."""
        refused = method.kind.sharding_refusal(method)
        if refused is not None:
            refused = f"{method.name} {refused}"
        elif method.kind.is_adapter and defences.has_penalty:
            refused = f"the pull toward the parent needs the whole adapter of {method.name}"
        if self.sharding != "none" and refused is not None:
            message = f"the model cannot be shared out with {self.sharding} here: {refused}"
            raise ConfigError("ranks.sharding", message, "Set it to none, or change that setting.")
