"""How many processes share a run, and what each of them holds."""

from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, whole_check
from training.config.defences import DefencesConfig
from training.config.method import MethodConfig
from training.config.watch import WatchConfig

AUTO = "auto"
SHARDINGS = ("none", "fsdp2")


@dataclass(frozen=True, kw_only=True)
class RanksConfig:
    """How many processes share a run, and what each of them holds."""

    processes: int | str = 1
    """Processes that share every step's examples, one a GPU, or sharing the CPU where there is no
    GPU; auto: as many as there are GPUs."""
    sharding: str = "none"
    """One of SHARDINGS. none: every process holds the whole model. fsdp2: each holds its part of
    the weights, gradients and optimizer state; adamw and lora only."""

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

    def recipe_check(
        self, method: MethodConfig, defences: DefencesConfig, watch: WatchConfig
    ) -> None:
        """Refuse sharding with what needs whole matrices or copies; ConfigError names it."""
        refused = None
        if method.kind.sharding_refusal is not None:
            refused = f"{method.name} {method.kind.sharding_refusal}"
        elif defences.has_penalty:
            refused = "the pull toward the parent needs whole matrices"
        elif watch.brake_rise is not None:
            refused = "the brake reads probes with a whole model"
        if self.sharding != "none" and refused is not None:
            message = f"the model cannot be shared out with {self.sharding} here: {refused}"
            raise ConfigError("ranks.sharding", message, "Set it to none, or change that setting.")
