"""How much memory a run will need, told before it starts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import JobState
from ftportal.runs.models import Run
from ftportal.runs.recipes import Mixture
from training.ahead.decoder import DecoderShape
from training.ahead.fitting import MethodFit, Place, Session, method_fits, processes_of
from training.ahead.memory import MemoryEstimate, Workload
from training.ahead.memory_advice import memory_cure, memory_free_bytes, memory_words
from training.ahead.warnings import RecipeWarning
from training.config import AUTO, GATHERED_TOKENS, RunConfig


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a run needs at its peak: a card, or a process where there are none; `total_bytes` is
    None where `basis` says why."""

    total_bytes: int | None
    basis: str
    methods: tuple[MethodFit, ...] = ()
    """What each method would need with the rest of the recipe as it is."""
    place: str = ""
    """What they are compared with, in words."""
    warning: RecipeWarning | None = None


def memory_plan(
    *,
    parent: Checkpoint,
    config: RunConfig,
    mixture: Mixture,
    shapes: Mapping[str, tuple[int, ...]],
) -> MemoryPlan:
    """Estimate a run's peak, and compare it with what its worker had free last time.

    Before any run has ended it is compared with this machine's own memory, which is the worker's
    where all runs on one machine.
    """
    try:
        decoder = DecoderShape.from_config(
            json.loads((parent.directory / "config.json").read_bytes())
        )
    except (OSError, ValueError) as error:
        return MemoryPlan(total_bytes=None, basis=f"not estimated: {error}")
    place, whose = _place(parent)
    session = Session(shapes=shapes, decoder=decoder, workload=workload_of(mixture, config))
    estimate = session.estimate(config, place)
    needed = session.needed_bytes(config, place)
    largest = ", ".join(
        f"{part.name} {memory_words(part.size_bytes)}" for part in estimate.parts[:3]
    )
    return MemoryPlan(
        total_bytes=estimate.total_bytes,
        basis=f"{_count_words(config, place)}most of it for {largest}",
        methods=tuple(method_fits(config, session, place)),
        place=_place_words(place, whose),
        warning=_warning(config, estimate, needed, place, whose),
    )


def _place(parent: Checkpoint) -> tuple[Place, str]:
    """What will be free where the run will be, and whose word that is.

    The last run of the model tells, or else the last of any; that one is not named, for the
    forecast is kept where people read it who may not see the other model.
    """
    ended = Run.objects.filter(job__state=JobState.SUCCEEDED, summary__memory_free_bytes__gt=0)
    ended = ended.order_by("-created_at")
    own = ended.filter(parent__language_model=parent.language_model).first()
    last = own or ended.first()
    if last is None:
        return Place(on_gpu=False, free_bytes=memory_free_bytes()), "this machine has"
    whose = "the worker of the last run had" if own is None else f"the worker of {own} had"
    place = Place(
        on_gpu=str(last.summary.get("device", "")).startswith("cuda"),
        free_bytes=int(last.summary["memory_free_bytes"]),
        processes=_auto_count(last),
    )
    return place, whose


def _auto_count(run: Run) -> int:
    """How many processes "auto" made of a run; 1 where that is not known."""
    was_auto = (run.recipe.get("ranks") or {}).get("processes") == AUTO
    count = run.summary.get("processes")
    return count if was_auto and isinstance(count, int) and count > 0 else 1


def _place_words(place: Place, whose: str) -> str:
    if place.free_bytes is None:
        return ""
    where = " on each card" if place.on_gpu else " for all processes together"
    return f"{whose} {memory_words(place.free_bytes)} free{where}"


def _count_words(config: RunConfig, place: Place) -> str:
    """Of what the peak is, where several processes share the run."""
    count = processes_of(config, place)
    if count == 1:
        return ""
    return "on each card, " if place.on_gpu else f"in each of {count} processes, "


def workload_of(mixture: Mixture, config: RunConfig) -> Workload:
    """The longest example and the longest decision that these batches hold, as far as is known.

    Batches that were read before lengths were kept count as holding an example of the longest
    length that is allowed, and decisions twice as long as their mean.
    """
    longest = decision = 1
    for batch, _ in mixture:
        length = batch.token_length_max or config.max_example_tokens
        longest = max(longest, min(length, config.max_example_tokens))
        count = batch.decision_count or batch.example_count or 1
        mean = (batch.decision_token_count or 0) / count
        decision = max(decision, batch.decision_length_max or round(2 * mean))
        # Of an example all decisions share a backward, or with frozen context the short ones.
        together = round(2 * (batch.decision_token_count or 0) / (batch.example_count or 1))
        if config.context_frozen:
            several = (batch.decision_count or 0) > (batch.example_count or 0)
            together = min(together, GATHERED_TOKENS) if several else 0
        decision = max(decision, together)
    return Workload(longest_tokens=longest, longest_decision_tokens=min(decision, longest))


def _warning(
    config: RunConfig, estimate: MemoryEstimate, needed: int, place: Place, whose: str
) -> RecipeWarning | None:
    bits = config.method.base_bits
    if bits is not None and not place.on_gpu:
        message = (
            f"A base in {bits} bit needs a worker with a CUDA GPU, and none is known of yet: "
            "without one the engine refuses the run before it loads anything."
        )
        return RecipeWarning(field="base_bits", message=message)
    if place.free_bytes is None or needed <= place.free_bytes:
        return None
    message = (
        f"The run needs about {memory_words(needed)} of memory{' on each card' * place.on_gpu}, "
        f"and {whose} {memory_words(place.free_bytes)} free: it may run out. "
        f"{memory_cure(config, estimate)}"
    )
    return RecipeWarning(field="max_example_tokens", message=message)
