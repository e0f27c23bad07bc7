"""The three actions: `measure`, `generate` and `score`, each with what it does. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.template_arguments import arguments_check
from engine.checks import ConfigError, choice_check, fields_of, text_check, whole_check
from evaluation.config.adaptive import AdaptiveConfig, adaptive_of
from evaluation.config.items import BenchmarkConfig, HeldOutConfig, PromptConfig, SessionConfig

AUTO = "auto"
DTYPES = (AUTO, "float32", "bfloat16")
DEVICES = (AUTO, "cpu", "cuda")
BATCH_SIZE_MOST = 64
"""The largest number of sequences a pass that `auto` tries: more gains a GPU next to nothing."""
BATCH_SIZE_CPU = 8
"""What `auto` is on a processor, where nothing says beforehand that memory will run out."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What every action needs to know about the model and the machine."""

    model: str
    """A Hugging Face directory with a tokenizer, and weights as safetensors or as one GGUF."""
    dtype: str = AUTO
    """One of DTYPES: what the weights are turned into before measuring; auto is bfloat16 on a GPU
    that computes in it, float32 elsewhere."""
    device: str = "auto"
    """One of DEVICES; auto takes a GPU where there is one."""
    batch_size: int | str = AUTO
    """Sequences a forward pass; pinned, as it changes the last bits of a likelihood. auto is the
    largest that fits a GPU, 64 at most, and 8 on a processor."""
    pinned_by: str | None = None
    """The measurement that this one is compared with, where dtype and batch_size are taken from
    it: what pages and errors call it."""
    seed: int = 0
    """Draws few-shot examples, and tokens where a temperature is set."""
    threads: int | None = None
    """CPU threads; None leaves it to torch."""
    manifest_sha256: str | None = None
    """What the model's manifest.json has to say, every file hashed again: results are kept under
    this hash and must be of no other weights. None: not checked."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        text_check("model", self.model)
        if self.manifest_sha256 is not None:
            text_check("manifest_sha256", self.manifest_sha256)
        choice_check("dtype", self.dtype, DTYPES)
        choice_check("device", self.device, DEVICES)
        if self.batch_size != AUTO:
            _batch_size_check(self.batch_size)
        if self.pinned_by is not None:
            text_check("pinned_by", self.pinned_by)
            for name in ("dtype", "batch_size"):
                if getattr(self, name) == AUTO:
                    cure = f"Write the {name} of that measurement, or leave pinned_by out."
                    raise ConfigError(name, "is auto where another measurement pins it", cure)
        whole_check("seed", self.seed, 0)
        whole_check("threads", self.threads, 1, optional=True)


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(EngineConfig):
    """Measure benchmarks, the perplexity of held-out text, and what is kept of sessions."""

    benchmarks: tuple[BenchmarkConfig, ...] = ()
    """In this order; may be empty when there is held-out text."""
    held_out: tuple[HeldOutConfig, ...] = ()
    """May be empty when there is something else to measure."""
    sessions: tuple[SessionConfig, ...] = ()
    """Batches that the model or what it is compared with has learned."""
    window_tokens: int = 1024
    """The longest stretch the model sees at once; longer documents slide."""
    stride_tokens: int = 512
    """How far the window moves; every token after the first window sees at least
    window - stride tokens before it."""
    parent: str | None = None
    """The directory of the model that this one was trained from: forward KL to it is measured on
    the held-out texts and sessions. None: not measured."""
    kl_tokens: int = 512
    """Positions compared with the parent, over all texts; its probabilities of the whole
    vocabulary are kept for each, so 512 take 100 MB with SmolLM2 and 500 MB with 250,000 tokens."""
    hub: bool = False
    """Whether benchmark data may be fetched from the Hugging Face hub."""
    datasets_folder: str | None = None
    """Copies of hub data sets, each at <folder>/<owner>/<name>; they go before cache and hub."""
    allow_code_execution: bool = False
    """Whether benchmarks may run code that the model wrote. An administrator's decision."""
    chat_template: bool = False
    """Whether benchmarks are asked through the model's chat template, where it has one: examples
    that come first are turns of the conversation, and the answer begins where the model's does."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is given: {"enable_thinking": false}."""
    adaptive: AdaptiveConfig | None = None
    """Measure benchmarks in random order and stop where the answer is certain; None: whole."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        super().__post_init__()
        if not self.benchmarks and not self.held_out and not self.sessions:
            raise ConfigError("benchmarks", "nothing to measure", "Name a benchmark or a text.")
        _unique("benchmarks.name", [one.name for one in self.benchmarks])
        _unique("held_out.key", [one.key for one in self.held_out])
        _unique("sessions.key", [one.key for one in self.sessions])
        known = {one.name for one in self.benchmarks}
        for group in self.adaptive.groups if self.adaptive else ():
            for name in group.benchmarks:
                choice_check("adaptive.groups.benchmarks", name, tuple(known))
        whole_check("kl_tokens", self.kl_tokens, 1)
        if self.parent is not None:
            text_check("parent", self.parent)
            if not self.held_out and not self.sessions:
                cure = "Name a held-out text or a session, or leave parent out."
                raise ConfigError("parent", "nothing to compare the two on", cure)
        whole_check("window_tokens", self.window_tokens, 2)
        whole_check("stride_tokens", self.stride_tokens, 1)
        if self.stride_tokens >= self.window_tokens:
            cure = "Use a stride below window_tokens, for example half of it."
            raise ConfigError("stride_tokens", "leaves tokens without context", cure)
        if self.datasets_folder is not None:
            text_check("datasets_folder", self.datasets_folder)
        arguments_check(self.template_arguments)
        if self.template_arguments and not self.chat_template:
            cure = "Set chat_template to true, or leave them out."
            raise ConfigError("template_arguments", "are given to no template", cure)
        for name in ("hub", "allow_code_execution", "chat_template"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(name, "is neither true nor false", "Write true or false.")


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(EngineConfig):
    """Answer prompts with the model's chat template."""

    prompts: tuple[PromptConfig, ...]
    """Each is answered on its own; their order changes no answer."""
    max_new_tokens: int = 512
    """The longest answer; less where a prompt leaves less room in the model's context."""
    temperature: float = 0.0
    """0 always takes the likeliest token; above, tokens are drawn with `seed`."""
    stream: bool = False
    """Whether text events show the answers while they are written."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is given: {"enable_thinking": false}."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        super().__post_init__()
        if not self.prompts:
            raise ConfigError("prompts", "no prompts", "Give at least one prompt.")
        _unique("prompts.sha256", [one.sha256 for one in self.prompts])
        whole_check("max_new_tokens", self.max_new_tokens, 1)
        numeric = isinstance(self.temperature, int | float) and not isinstance(
            self.temperature, bool
        )
        if not numeric or not math.isfinite(self.temperature) or not 0 <= self.temperature <= 10:
            cure = "Write a number from 0 to 10."
            raise ConfigError("temperature", f"{self.temperature!r} is not valid", cure)
        arguments_check(self.template_arguments)
        if not isinstance(self.stream, bool):
            raise ConfigError("stream", "is neither true nor false", "Write true or false.")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(EngineConfig):
    """Score every decision of a batch: how likely it is under the model."""

    examples: str
    """The batch's examples.jsonl, as `corpus.ingestion` wrote it."""
    max_tokens: int = 4096
    """Longer examples are not scored; they are counted."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        super().__post_init__()
        text_check("examples", self.examples)
        whole_check("max_tokens", self.max_tokens, 8)


def config_from_json(record: Any) -> MeasureConfig | GenerateConfig | ScoreConfig:
    """Read a whole config.json; raises ConfigError naming the first wrong field."""
    if not isinstance(record, Mapping):
        raise ConfigError("config", "is not a JSON object", "Write an object of fields.")
    rest = dict(record)
    action = rest.pop("action", None)
    choice_check("action", action, ("measure", "generate", "score"))
    if action == "score":
        score: ScoreConfig = ScoreConfig(**fields_of(ScoreConfig, rest, ""))
        return score
    if action == "generate":
        _nest(rest, "prompts", PromptConfig)
        generate: GenerateConfig = GenerateConfig(**fields_of(GenerateConfig, rest, ""))
        return generate
    _nest(rest, "benchmarks", BenchmarkConfig)
    _nest(rest, "held_out", HeldOutConfig)
    _nest(rest, "sessions", SessionConfig)
    rest["adaptive"] = adaptive_of(rest.get("adaptive"))
    measure: MeasureConfig = MeasureConfig(**fields_of(MeasureConfig, rest, ""))
    return measure


def _nest(record: dict[str, Any], name: str, cls: type) -> None:
    """Turn a list of objects into a tuple of configs, in place; an absent list stays absent."""
    if name not in record:
        return
    if not isinstance(record[name], list | tuple):
        raise ConfigError(name, "is not a list", "Write a list of objects.")
    record[name] = tuple(cls(**fields_of(cls, one, name)) for one in record[name])


def _batch_size_check(value: Any) -> None:
    if isinstance(value, str):
        raise ConfigError("batch_size", f"{value!r} is not valid", "Write a number, or auto.")
    whole_check("batch_size", value, 1)


def _unique(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(where, f"{name!r} appears twice", "Name everything once.")
