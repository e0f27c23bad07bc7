"""How much memory a session needs at its peak, before anything is loaded. No torch here.

The peak is the largest of three moments: the backward of the longest decision, the optimizer's
step, and the measuring of a change's rank; that of sharpness has the gradients' place. Activations
are counted by what a decoder layer of the usual kind (a norm, attention, a norm, a gated MLP) keeps
for its backward, in numbers a token: 4 of the MLP's width, 6 of the hidden width, 2 of the queries'
and 1 of the keys'; counted with torch's saved-tensor hooks on SmolLM2-135M this is 11,424 against
11,190. With frozen context only a decision's tokens count, and every layer also keeps the keys and
values of the whole conversation, on a GPU repeated for the queries. Logits are float32 and live
four times over.

On a CPU the C library's heap grows to nearly twice what a step's small blocks need (measured: 2.06
MB a token against 1.16 with every block mapped by itself), hence HEAP_FACTOR for blocks under 32
MiB. Against measured peaks see docs/results/memory.md: within 20 % there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.config import RunConfig
from training.methods.method import FLOAT32_BYTES, GRADIENTS, OPTIMIZER

TOLERANCE = 0.2
"""How far a measured peak may lie from the estimate, on the shapes it was checked with."""
PROGRAM_BYTES = 430 << 20
"""The process itself with torch and transformers; on a GPU it counts in main memory only."""
HEAP_FACTOR = 1.85
HEAP_BLOCK_MAX_BYTES = 32 << 20
"""Larger blocks are given back at once, by the C library's own limit."""
GPU_FACTOR = 1.1
"""What torch's allocator keeps beside what is in use."""
LOGIT_COPIES = 4.6
"""Logits, their logarithms and the gradients of both; measured on SmolLM2-135M."""


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """What of a model's config decides how large activations are; widths in numbers."""

    layers: int
    hidden: int
    queries: int
    """Heads × the width of a head."""
    keys: int
    """Key-value heads × the width of a head."""
    intermediate: int
    vocabulary: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "DecoderShape":
        """Read a model directory's config.json; ValueError names what it lacks."""
        own = config.get("text_config")
        values: Mapping[str, Any] = own if isinstance(own, Mapping) and own else config
        hidden = _whole(values, "hidden_size", "n_embd")
        heads = _whole(values, "num_attention_heads", "n_head")
        head = _whole(values, "head_dim", default=hidden // heads)
        keys = _whole(values, "num_key_value_heads", default=heads)
        return cls(
            layers=_whole(values, "num_hidden_layers", "n_layer"),
            hidden=hidden,
            queries=heads * head,
            keys=keys * head,
            intermediate=_intermediate(values, hidden),
            vocabulary=_whole(values, "vocab_size"),
        )


def _whole(values: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            raise ValueError(f"the model's config.json has a {name} that is no single size")
    if default is not None:
        return default
    raise ValueError(f"the model's config.json has no {names[0]}")


def _intermediate(values: Mapping[str, Any], hidden: int) -> int:
    """The width of the MLP; of a mixture of experts, that of all experts a token goes through."""
    experts = values.get("num_experts_per_tok")
    width = values.get("moe_intermediate_size")
    if isinstance(experts, int) and isinstance(width, int):
        return experts * width
    return _whole(values, "intermediate_size", "n_inner", default=4 * hidden)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The largest that a session meets."""

    longest_tokens: int
    """Of one example."""
    longest_decision_tokens: int
    """Of what shares a backward: one decision or a group of short ones; with label masking all
    decisions of an example."""


@dataclass(frozen=True, kw_only=True)
class MemoryPart:
    """One part of the peak."""

    name: str
    """In words, such as "optimizer state"."""
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """What a session needs at its peak."""

    parts: tuple[MemoryPart, ...]
    """The largest first."""

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return sum(part.size_bytes for part in self.parts)

    def part_bytes(self, name: str) -> int:
        """The size of the part of this name; 0 where there is none."""
        return sum(part.size_bytes for part in self.parts if part.name == name)


WEIGHTS = "weights"
ACTIVATIONS, CACHE, LOGITS = "activations", "context kept for attention", "logits"
WATCH = "watch and brake"
PENALTIES, PROGRAM = "penalties", "the program itself"
WORK = "work space"


def memory_estimate(
    config: RunConfig,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    decoder: DecoderShape,
    workload: Workload,
    on_gpu: bool,
) -> MemoryEstimate:
    """Estimate a session's peak: of the GPU where it runs on one, else of the process.

    shapes: of the parent's tensors, by name, from `engine.tensorfiles.tensor_shapes`.
    """
    kind = config.method.kind
    kept = _kept(config, shapes)
    watch = _watch_bytes(config, decoder, _trained_bytes(config, shapes), on_gpu)
    if watch:
        kept[WATCH] = watch
    backward = _backward(config, decoder, workload, on_gpu)
    trained = _trained_bytes(config, shapes)
    largest = max(map(math.prod, shapes.values())) * FLOAT32_BYTES
    step = {GRADIENTS: trained, WORK: kind.step_bytes(shapes, _number_bytes(config))}
    if config.diagnostics.sharpness and config.dtype == "float32" and not kind.is_adapter:
        step[WORK] += largest  # what one parameter was, until its gradient is done with
    measuring = {WORK: 2 * largest}
    if _gradients_stand(config, workload):
        backward[GRADIENTS] = trained
    moments = [backward, step, measuring]
    worst = max(moments, key=lambda moment: sum(moment.values()))
    if not on_gpu:
        kept[PROGRAM] = PROGRAM_BYTES
    parts = [MemoryPart(name=name, size_bytes=size) for name, size in {**kept, **worst}.items()]
    return MemoryEstimate(parts=tuple(sorted(parts, key=lambda part: -part.size_bytes)))


def _number_bytes(config: RunConfig) -> int:
    return 2 if config.dtype == "bfloat16" else FLOAT32_BYTES


def _kept(config: RunConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """What is there from the first step to the last."""
    numbers = sum(map(math.prod, shapes.values()))
    weights = numbers * _number_bytes(config)
    method, kind = config.method, config.method.kind
    if kind.is_adapter:
        weights += _trained_bytes(config, shapes)
    optimizer = kind.optimizer_bytes(method, shapes, _number_bytes(config))
    kept = {WEIGHTS: weights, OPTIMIZER: optimizer}
    defences = config.defences
    if defences.has_penalty and not kind.is_adapter:
        kept[PENALTIES] = numbers * _number_bytes(config)
    if defences.ewc_variant == "diagonal":
        kept[PENALTIES] = kept.get(PENALTIES, 0) + numbers * FLOAT32_BYTES
    return kept


def _watch_bytes(config: RunConfig, decoder: DecoderShape, trained: int, on_gpu: bool) -> int:
    """The parent's predictions, and the brake's copy, which is in main memory."""
    if not config.watch.watch_every_steps:
        return 0
    copy = trained if config.watch.brake_rise is not None and not on_gpu else 0
    return config.watch.watch_kl_tokens * decoder.vocabulary * FLOAT32_BYTES + copy


def _trained_bytes(config: RunConfig, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """One number of the right size for everything that learns."""
    return config.method.kind.trained_bytes(config.method, shapes, _number_bytes(config))


def _together(config: RunConfig, workload: Workload) -> int:
    """Conversations that are walked side by side, of those that are among the longest."""
    return config.context.together_at_length(config.examples_per_step, workload.longest_tokens)


def _gradients_stand(config: RunConfig, workload: Workload) -> bool:
    """Whether gradients of an earlier backward of the step are there when the largest begins.

    Else they take the place of the activations that are done with.
    """
    return config.context_frozen or config.examples_per_step > _together(config, workload)


def _backward(
    config: RunConfig, decoder: DecoderShape, workload: Workload, on_gpu: bool
) -> dict[str, int]:
    """What is alive when the backward of the longest decision begins."""
    together = _together(config, workload)
    number = _number_bytes(config)
    decision = workload.longest_decision_tokens
    frozen = config.context_frozen
    tokens = workload.longest_tokens
    if frozen:
        tokens = min(tokens, decision + max(1, config.context.grad_window))
    rows = together * tokens
    wide = _blocks(4 * decoder.layers, rows * decoder.intermediate * number, on_gpu)
    narrow = _blocks(6 * decoder.layers, rows * decoder.hidden * number, on_gpu)
    narrow += _blocks(2 * decoder.layers, rows * decoder.queries * number, on_gpu)
    narrow += _blocks(decoder.layers, rows * decoder.keys * number, on_gpu)
    logits = LOGIT_COPIES * together * min(decision, tokens) * decoder.vocabulary * FLOAT32_BYTES
    sizes = {ACTIVATIONS: round(wide + narrow), LOGITS: round(logits)}
    if frozen:
        whole = together * workload.longest_tokens
        cache = _blocks(2 * decoder.layers, whole * decoder.keys * number, on_gpu)
        if on_gpu:  # on the CPU attention reads what query heads share as it is
            cache += _blocks(2 * decoder.layers, whole * decoder.queries * number, on_gpu)
        sizes[CACHE] = round(cache)
    return sizes


def _blocks(count: int, block_bytes: int, on_gpu: bool) -> float:
    """Bytes that so many blocks of one size take."""
    if on_gpu:
        return GPU_FACTOR * count * block_bytes
    factor = HEAP_FACTOR if block_bytes < HEAP_BLOCK_MAX_BYTES else 1.0
    return factor * count * block_bytes
