"""The whole recipe of a run, RUN_DIR/config.json."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from engine.checks import (
    ConfigError,
    choice_check,
    fields_of,
    number_check,
    text_check,
    whole_check,
)
from training.config.batch import BatchConfig
from training.config.context import ContextConfig
from training.config.defences import DefencesConfig
from training.config.diagnostics import DiagnosticsConfig
from training.config.method import MethodConfig
from training.config.ranks import RanksConfig
from training.config.watch import ProbeConfig, WatchConfig

SCHEDULES = ("constant", "linear", "cosine")
DTYPES = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
GROUPS: dict[str, type] = {
    "method": MethodConfig,
    "context": ContextConfig,
    "defences": DefencesConfig,
    "diagnostics": DiagnosticsConfig,
    "ranks": RanksConfig,
    "watch": WatchConfig,
}
"""Fields of the recipe that are groups of fields; a name stands in one place of them all only."""
_One = TypeVar("_One")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does."""

    model: str
    """The parent: a Hugging Face directory with safetensors weights."""
    batches: tuple[BatchConfig, ...]
    """What is learnt; at least one."""
    anchor_model: str | None = None
    """The pre-trained model that displacement is also measured against; None: not measured."""
    probes: tuple[ProbeConfig, ...] = ()
    """General texts that are never learnt, whose perplexity is watched."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """The optimizer, or LoRA."""
    defences: DefencesConfig = field(default_factory=DefencesConfig)
    """What holds the weights near the parent's."""
    learning_rate: float = 1e-5
    """The highest rate; schedule and warm-up lower it."""
    schedule: str = "constant"
    """One of SCHEDULES; linear and cosine end at 0."""
    warmup_steps: int = 0
    """Steps over which the rate rises from 0."""
    weight_decay: float = 0.0
    """Decoupled decay, of matrices only (norms and biases are never decayed)."""
    max_gradient_norm: float | None = 1.0
    """Gradients with a larger L2 norm are scaled down to it; None: never."""
    epochs: int = 1
    """How often the run goes through as many examples as the batches have."""
    examples_per_step: int = 1
    """Conversations whose gradients are summed for one step."""
    seed: int = 0
    """Of the order of the examples, of LoRA's start and of dropout."""
    context_frozen: bool = True
    """Run context without gradient (context-frozen training); else label masking."""
    context: ContextConfig = field(default_factory=ContextConfig)
    """How conversations are walked through."""
    max_example_tokens: int = 4096
    """Longer examples are left out, with a warning that counts them."""
    dtype: str = "float32"
    """One of DTYPES: of weights, gradients and optimizer state; ftportal's APOLLO keeps float32
    state, and LoRA's adapter is float32 as a whole."""
    device: str = "auto"
    """One of DEVICES; auto takes the GPU where there is one."""
    save_every_steps: int = 20
    """A resumable state is written after every so many steps."""
    max_steps: int | None = None
    """Stop after so many steps, even within an epoch."""
    threads: int | None = None
    """CPU threads for arithmetic, in every process; None: the library's choice, shared out among
    the processes."""
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    """What is measured beside the loss; without any influence on the weights."""
    ranks: RanksConfig = field(default_factory=RanksConfig)
    """How many processes share the run."""
    watch: WatchConfig = field(default_factory=WatchConfig)
    """How it is watched for what it forgets, and what stops it."""

    def __post_init__(self) -> None:
        self._check_data()
        self._check_numbers()
        self.ranks.recipe_check(self.method, self.defences)
        self.method.base_check(self.defences, self.device)
        choice_check("schedule", self.schedule, SCHEDULES)
        choice_check("dtype", self.dtype, DTYPES)
        choice_check("device", self.device, DEVICES)
        if not isinstance(self.context_frozen, bool):
            raise ConfigError("context_frozen", "is neither true nor false", "Write true or false.")
        self.context.run_check(
            context_frozen=self.context_frozen, examples_per_step=self.examples_per_step
        )

    def _check_data(self) -> None:
        text_check("model", self.model)
        if self.anchor_model is not None:
            text_check("anchor_model", self.anchor_model)
        if not self.batches:
            raise ConfigError("batches", "is empty", "Choose at least one batch.")
        keys = [batch.key for batch in self.batches]
        if len(set(keys)) < len(keys):
            raise ConfigError("batches.key", "two batches have one key", "Give each its own.")
        self.defences.batches_check(self.batches)
        self.watch.texts_check(self.batches, self.probes)

    def _check_numbers(self) -> None:
        number_check("learning_rate", self.learning_rate, above=True)
        number_check("weight_decay", self.weight_decay, maximum=1.0)
        number_check("max_gradient_norm", self.max_gradient_norm, above=True, optional=True)
        whole_check("warmup_steps", self.warmup_steps, 0)
        whole_check("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise ConfigError("seed", f"{self.seed} is too large", "Use a seed below 4294967296.")
        for name in ("epochs", "examples_per_step", "save_every_steps"):
            whole_check(name, getattr(self, name), 1)
        whole_check("max_example_tokens", self.max_example_tokens, 8)
        whole_check("max_steps", self.max_steps, 1, optional=True)
        whole_check("threads", self.threads, 1, optional=True)
        if self.max_steps is not None:
            self.steps_check(self.max_steps)

    def steps_check(self, steps: int) -> None:
        """Refuse a warm-up that a run of so many steps never leaves; ConfigError names it."""
        if self.warmup_steps and self.warmup_steps >= steps:
            raise ConfigError(
                "warmup_steps",
                f"the run has {steps:,} steps, so its rate would never be reached",
                f"Use fewer than {steps:,} warm-up steps, or more examples or epochs.",
            )

    def shapes_check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a method's settings that do not fit the parent; ConfigError names the first.

        shapes: of the parent's tensors, by name.
        """
        self.method.kind.shapes_check(self.method, shapes)

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Build a config from decoded JSON; ConfigError names the field that is wrong."""
        values = fields_of(cls, record, "")
        values["batches"] = _list_read(BatchConfig, "batches", values["batches"])
        values["probes"] = _list_read(ProbeConfig, "probes", values.get("probes", ()))
        for name, group in GROUPS.items():
            if name in values:
                values[name] = group(**fields_of(group, values[name], name))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        record = dataclasses.asdict(self)
        record["batches"] = [dataclasses.asdict(batch) for batch in self.batches]
        record["probes"] = [dataclasses.asdict(probe) for probe in self.probes]
        return record


def _list_read(cls: type[_One], where: str, value: Any) -> tuple[_One, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(where, "is not a list", f"Write a list of {where}.")
    return tuple(cls(**fields_of(cls, one, f"{where}[{index}]")) for index, one in enumerate(value))


def example_config() -> dict[str, Any]:
    """Return a complete config with every field, to start from."""
    batches = (
        BatchConfig(key="b1", name="Support", kind="agent_log", path="support.jsonl", weight=0.75),
        BatchConfig(key="b2", name="General", kind="general", path="general.jsonl", weight=0.25),
    )
    probes = (ProbeConfig(key="h1", name="Prose", path="held_out.jsonl"),)
    return RunConfig(
        model="models/base", batches=batches, anchor_model="models/base", probes=probes
    ).to_json()
