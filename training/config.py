"""The recipe of a run: RUN_DIR/config.json, checked as a whole before anything is loaded.

No torch here: the portal builds and checks recipes with this module.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

KINDS = ("agent_log", "conversation", "dream", "personality", "general")
METHODS = ("apollo", "apollo_mini", "lora", "adamw")
APOLLO_METHODS = ("apollo", "apollo_mini")
IMPLEMENTATIONS = ("ftportal", "apollo-torch")
"""Of the APOLLO methods: training/apollo.py, or the authors' package (CC-BY-NC 4.0)."""
SCHEDULES = ("constant", "linear", "cosine")
DTYPES = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
_DEFAULT_RANKS = {"apollo": 256, "apollo_mini": 1, "lora": 16, "adamw": None}


class ConfigError(Exception):
    """A setting is wrong: `where` names the field, `message` what is wrong, `cure` what to do."""

    def __init__(self, where: str, message: str, cure: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message
        self.cure = cure


def fields_of(cls: type, record: Any, where: str) -> dict[str, Any]:
    """Return the fields of a JSON object, after a check for unknown and missing ones."""
    if not isinstance(record, Mapping):
        raise ConfigError(where or "config", "is no JSON object", "Write an object of fields.")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    prefix = f"{where}." if where else ""
    for name in record:
        if name not in fields:
            known = ", ".join(fields)
            raise ConfigError(f"{prefix}{name}", "unknown field", f"Use only: {known}.")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING
        if required and item.default_factory is dataclasses.MISSING and name not in record:
            raise ConfigError(f"{prefix}{name}", "is missing", "Add the field.")
    return dict(record)


def text_check(where: str, value: Any) -> None:
    """Refuse what is no text, or an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(where, "is no text or empty", "Write a non-empty text.")


def choice_check(where: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ConfigError(where, f"{value!r} is not known", f"Use one of: {', '.join(choices)}.")


def whole_check(where: str, value: Any, minimum: int, *, optional: bool = False) -> None:
    """Refuse what is no whole number of at least `minimum` (nor None, if `optional`)."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        cure = f"Write a whole number of at least {minimum}."
        raise ConfigError(where, f"{value!r} is not valid", cure)


def _number(
    where: str,
    value: Any,
    *,
    minimum: float = 0.0,
    above: bool = False,
    maximum: float = math.inf,
    optional: bool = False,
) -> None:
    """Refuse what is no finite number between minimum (itself excluded if `above`) and maximum."""
    if optional and value is None:
        return
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    low_enough = numeric and math.isfinite(value) and value <= maximum
    if not low_enough or value < minimum or (above and value == minimum):
        bound = f"above {minimum:g}" if above else f"of at least {minimum:g}"
        limit = "" if math.isinf(maximum) else f" and at most {maximum:g}"
        raise ConfigError(where, f"{value!r} is not valid", f"Write a number {bound}{limit}.")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """One batch in the mixture."""

    key: str
    """Names the batch in metrics; unique in the run, without a slash."""
    name: str
    """What people call it."""
    kind: str
    """One of KINDS."""
    path: str
    """Its examples.jsonl, as `training.ingestion` wrote it."""
    weight: float = 1.0
    """Its share of the examples, before normalising over all batches; above 0."""

    def __post_init__(self) -> None:
        for name in ("key", "name", "path"):
            text_check(f"batches.{name}", getattr(self, name))
        if "/" in self.key:
            raise ConfigError("batches.key", f"{self.key!r} has a slash", "Use a key without one.")
        choice_check("batches.kind", self.kind, KINDS)
        _number("batches.weight", self.weight, above=True)


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
        _number("method.scale", self.scale, above=True, optional=True)
        _number("method.lora_alpha", self.lora_alpha, above=True, optional=True)
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


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does."""

    model: str
    """The parent: a Hugging Face directory with safetensors weights."""
    batches: tuple[BatchConfig, ...]
    """What is learnt; at least one."""
    anchor_model: str | None = None
    """The pre-trained model that displacement is also measured against; None: not measured."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """The optimizer, or LoRA."""
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
    max_example_tokens: int = 4096
    """Longer examples are left out, with a warning that counts them."""
    dtype: str = "float32"
    """One of DTYPES: of weights, gradients and optimizer state; ftportal's APOLLO keeps float32
    state."""
    device: str = "auto"
    """One of DEVICES; auto takes the GPU where there is one."""
    save_every_steps: int = 20
    """A resumable state is written after every so many steps."""
    max_steps: int | None = None
    """Stop after so many steps, even within an epoch."""
    threads: int | None = None
    """CPU threads for arithmetic; None: the library's choice."""

    def __post_init__(self) -> None:
        self._check_data()
        self._check_numbers()
        choice_check("schedule", self.schedule, SCHEDULES)
        choice_check("dtype", self.dtype, DTYPES)
        choice_check("device", self.device, DEVICES)
        if not isinstance(self.context_frozen, bool):
            raise ConfigError("context_frozen", "is neither true nor false", "Write true or false.")

    def _check_data(self) -> None:
        text_check("model", self.model)
        if self.anchor_model is not None:
            text_check("anchor_model", self.anchor_model)
        if not self.batches:
            raise ConfigError("batches", "is empty", "Choose at least one batch.")
        keys = [batch.key for batch in self.batches]
        if len(set(keys)) < len(keys):
            raise ConfigError("batches.key", "two batches have one key", "Give each its own.")

    def _check_numbers(self) -> None:
        _number("learning_rate", self.learning_rate, above=True)
        _number("weight_decay", self.weight_decay, maximum=1.0)
        _number("max_gradient_norm", self.max_gradient_norm, above=True, optional=True)
        whole_check("warmup_steps", self.warmup_steps, 0)
        whole_check("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise ConfigError("seed", f"{self.seed} is too large", "Use a seed below 4294967296.")
        for name in ("epochs", "examples_per_step", "save_every_steps"):
            whole_check(name, getattr(self, name), 1)
        whole_check("max_example_tokens", self.max_example_tokens, 8)
        whole_check("max_steps", self.max_steps, 1, optional=True)
        whole_check("threads", self.threads, 1, optional=True)

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Build a config from decoded JSON; ConfigError names the field that is wrong."""
        values = fields_of(cls, record, "")
        batches = values["batches"]
        if not isinstance(batches, list | tuple):
            raise ConfigError("batches", "is no list", "Write a list of batches.")
        values["batches"] = tuple(
            BatchConfig(**fields_of(BatchConfig, batch, f"batches[{index}]"))
            for index, batch in enumerate(batches)
        )
        if "method" in values:
            values["method"] = MethodConfig(**fields_of(MethodConfig, values["method"], "method"))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        record = dataclasses.asdict(self)
        record["batches"] = [dataclasses.asdict(batch) for batch in self.batches]
        return record


def example_config() -> dict[str, Any]:
    """Return a complete config with every field, to start from."""
    batches = (
        BatchConfig(key="b1", name="Support", kind="agent_log", path="support.jsonl", weight=0.75),
        BatchConfig(key="b2", name="General", kind="general", path="general.jsonl", weight=0.25),
    )
    return RunConfig(model="models/base", batches=batches, anchor_model="models/base").to_json()
