"""How much memory a session needs at its peak, before anything is loaded. No torch here.

The peak is the largest of several moments: the reading of the longest context, where a layer has
all of it at once; the backward of the longest decision, and its end, where processes that share the
model sum the last gradients; the optimizer's step; and the measuring of a change's rank; that of
sharpness has the gradients' place. What is held at all of them is in `held`. Activations are
counted by what a decoder layer of the usual kind (a norm, attention, a norm, a gated MLP) keeps
for its backward, in numbers a token: 4 of the MLP's width, 6 of the hidden width, 2 of the queries'
and 1 of the keys'; counted with torch's saved-tensor hooks on SmolLM2-135M this is 11,424 against
11,190; layers of a delta rule keep other things (`decoder`). With frozen context only a decision's
tokens count, and every layer also keeps the keys and values of the whole conversation, on a GPU
repeated for the queries. Logits are float32 and live
four times over.

On a CPU the C library's heap grows to nearly twice what a step's small blocks need (measured: 2.06
MB a token against 1.16 with every block mapped by itself), hence HEAP_FACTOR for blocks under 32
MiB. Against measured peaks see docs/results/memory.md: within 20 % there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from training.ahead.decoder import DecoderShape
from training.ahead.held import Held
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
_READ_MLP, _READ_HIDDEN = 3, 2
"""How often a layer that reads without gradient has a token in the MLP's and the hidden width."""


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
GATHERED = "gathered layers"
"""What processes that share a model have of it whole for a while."""
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
    processes: int = 1,
) -> MemoryEstimate:
    """Estimate a session's peak: of a GPU where it runs on GPUs, else of a process.

    shapes: of the parent's tensors, by name, from `engine.tensorfiles.tensor_shapes`.
    processes: how many share the run, each with a GPU of its own where there are any.
    """
    held = Held(config=config, shapes=shapes, processes=processes)
    kept = _kept(held)
    watch = _watch_bytes(config, decoder, held.trained, on_gpu)
    if watch:
        kept[WATCH] = watch
    if not on_gpu:
        kept[PROGRAM] = PROGRAM_BYTES
    moments = _moments(held, decoder, workload, on_gpu)
    worst = max(moments, key=lambda moment: sum(moment.values()))
    sizes = {name: size for name, size in {**kept, **worst}.items() if size or name in _ALWAYS}
    parts = [MemoryPart(name=name, size_bytes=size) for name, size in sizes.items()]
    return MemoryEstimate(parts=tuple(sorted(parts, key=lambda part: -part.size_bytes)))


_ALWAYS = (WEIGHTS, OPTIMIZER)


def _kept(held: Held) -> dict[str, int]:
    """What is there from the first step to the last."""
    kept = {WEIGHTS: held.model, OPTIMIZER: held.optimizer}
    defences = held.config.defences
    penalties = 0
    if defences.has_penalty and not held.config.method.kind.is_adapter:
        penalties += held.numbers * held.number_bytes
    if defences.ewc_variant == "diagonal":
        penalties += held.numbers * FLOAT32_BYTES
    if penalties:
        kept[PENALTIES] = held.part(penalties)
    return kept


def _watch_bytes(config: RunConfig, decoder: DecoderShape, trained: int, on_gpu: bool) -> int:
    """The parent's predictions, and the brake's copy, which is in main memory."""
    if not config.watch.watch_every_steps:
        return 0
    copy = trained if config.watch.brake_rise is not None and not on_gpu else 0
    return config.watch.watch_kl_tokens * decoder.vocabulary * FLOAT32_BYTES + copy


def _moments(
    held: Held, decoder: DecoderShape, workload: Workload, on_gpu: bool
) -> list[dict[str, int]]:
    """What is alive beside what is kept, moment by moment."""
    config, trained = held.config, held.trained
    walk = _Walk(held, decoder, workload, on_gpu)
    backward = walk.backward() | {GATHERED: held.gathered(backward=True)}
    reading = walk.reading() | {GATHERED: held.gathered(backward=False)}
    closing = {CACHE: backward.get(CACHE, 0), GATHERED: held.closing(), GRADIENTS: trained}
    step = {GRADIENTS: trained, WORK: held.step}
    largest = held.largest * FLOAT32_BYTES
    sharpness = config.diagnostics.sharpness and not held.shared
    if sharpness and config.dtype == "float32" and not config.method.kind.is_adapter:
        step[WORK] += largest  # what one parameter was, until its gradient is done with
    measuring = {WORK: 2 * largest}
    if held.restored:
        backward[WORK] = reading[WORK] = held.restored
    if walk.gradients_stand:
        backward[GRADIENTS] = reading[GRADIENTS] = trained
    moments = [backward, step, measuring]
    if config.context_frozen:
        moments.append(reading)
    if held.shared:
        moments.append(closing)
    return moments


class _Walk:
    """What going through the longest conversations of a step takes."""

    def __init__(self, held: Held, decoder: DecoderShape, workload: Workload, on_gpu: bool) -> None:
        config = held.config
        own = -(-config.examples_per_step // held.processes)
        together = config.context.together_at_length(own, workload.longest_tokens)
        self._together = min(together, own)
        """Conversations that are walked side by side, of those that are among the longest."""
        self._decoder = decoder
        self._frozen = config.context_frozen
        self._number = held.number_bytes
        self._on_gpu = on_gpu
        self._whole = workload.longest_tokens
        decision = workload.longest_decision_tokens
        with_gradient = self._whole
        if self._frozen:
            window = max(1, config.context.grad_window)
            with_gradient = min(self._whole, decision + window)
        self._with_gradient = with_gradient
        self._predicted = min(decision, with_gradient)
        self.gradients_stand = self._frozen or own > self._together
        """Whether gradients of an earlier backward of the step are there when the largest begins.

        Else they take the place of the activations that are done with.
        """

    def backward(self) -> dict[str, int]:
        """What is alive when the backward of the longest decision begins."""
        logits = self._together * self._predicted * self._decoder.vocabulary * FLOAT32_BYTES
        sizes = {ACTIVATIONS: self._activations(), LOGITS: round(LOGIT_COPIES * logits)}
        if self._frozen:
            sizes[CACHE] = self._cache(repeated=self._on_gpu)
        return sizes

    def reading(self) -> dict[str, int]:
        """What is alive in the middle of a layer that reads the context, without gradient."""
        decoder, number = self._decoder, self._number
        widest: float = number * (_READ_MLP * decoder.intermediate + _READ_HIDDEN * decoder.hidden)
        if decoder.recurrent is not None:
            widest = max(widest, decoder.recurrent.read_bytes(decoder.hidden, number))
        rows = self._together * max(0, self._whole - self._predicted)
        factor = GPU_FACTOR if self._on_gpu else 1.0
        sizes = {ACTIVATIONS: round(factor * rows * widest)}
        return sizes | {CACHE: self._cache(repeated=False)}

    def _activations(self) -> int:
        decoder, number = self._decoder, self._number
        rows = self._together * self._with_gradient
        queries, keys = (decoder.attending * count for count in decoder.attention_kept)
        sizes = self._blocks(4 * decoder.layers, rows * decoder.intermediate * number)
        sizes += self._blocks(6 * decoder.layers, rows * decoder.hidden * number)
        sizes += self._blocks(queries, rows * decoder.queries * number)
        sizes += self._blocks(keys, rows * decoder.keys * number)
        if decoder.recurrent is not None:
            one = round(rows * decoder.recurrent.kept_bytes(number))
            sizes += self._blocks(decoder.recurrent.layers, one)
        return round(sizes)

    def _cache(self, *, repeated: bool) -> int:
        """Keys and values of the whole, and states; repeated: for each query too, as GPUs need."""
        decoder, number = self._decoder, self._number
        whole = self._together * self._whole
        sizes = self._blocks(2 * decoder.attending, whole * decoder.keys * number)
        if repeated:
            sizes += self._blocks(2 * decoder.attending, whole * decoder.queries * number)
        if decoder.recurrent is not None:
            state = self._together * decoder.recurrent.state * FLOAT32_BYTES
            sizes += self._blocks(decoder.recurrent.layers, state)
        return round(sizes)

    def _blocks(self, count: int, block_bytes: int) -> float:
        """Bytes that so many blocks of one size take."""
        if self._on_gpu:
            return GPU_FACTOR * count * block_bytes
        factor = HEAP_FACTOR if block_bytes < HEAP_BLOCK_MAX_BYTES else 1.0
        return factor * count * block_bytes
