"""How much memory a run will need, told before it starts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import JobState
from ftportal.runs.models import Run
from ftportal.runs.recipes import Mixture
from training.ahead.memory import DecoderShape, MemoryEstimate, Workload, memory_estimate
from training.ahead.memory_advice import memory_cure, memory_free_bytes, memory_words
from training.ahead.warnings import RecipeWarning
from training.config import GATHERED_TOKENS, RunConfig


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a run needs at its peak; `total_bytes` is None where `basis` says why."""

    total_bytes: int | None
    basis: str
    warning: RecipeWarning | None = None


def memory_plan(
    *,
    parent: Checkpoint,
    config: RunConfig,
    mixture: Mixture,
    shapes: Mapping[str, tuple[int, ...]],
) -> MemoryPlan:
    """Estimate a run's peak, and compare it with what its worker had free last time.

    Before any run of this model has ended it is compared with this machine's own memory, which is
    the worker's where all runs on one machine.
    """
    try:
        decoder = DecoderShape.from_config(
            json.loads((parent.directory / "config.json").read_bytes())
        )
    except (OSError, ValueError) as error:
        return MemoryPlan(total_bytes=None, basis=f"not estimated: {error}")
    on_gpu, free, whose = _place(parent)
    estimate = memory_estimate(
        config,
        shapes=shapes,
        decoder=decoder,
        workload=workload_of(mixture, config),
        on_gpu=on_gpu,
    )
    largest = ", ".join(
        f"{part.name} {memory_words(part.size_bytes)}" for part in estimate.parts[:3]
    )
    return MemoryPlan(
        total_bytes=estimate.total_bytes,
        basis=f"most of it for {largest}",
        warning=_warning(config, estimate, free, whose),
    )


def _place(parent: Checkpoint) -> tuple[bool, int | None, str]:
    """Whether a GPU will do it, what will be free there, and whose word that is."""
    runs = Run.objects.filter(
        parent__language_model=parent.language_model,
        job__state=JobState.SUCCEEDED,
        summary__memory_free_bytes__gt=0,
    )
    last = runs.order_by("-created_at").first()
    if last is None:
        return False, memory_free_bytes(), "this machine has"
    on_gpu = str(last.summary.get("device", "")).startswith("cuda")
    return on_gpu, int(last.summary["memory_free_bytes"]), f"the worker of {last} had"


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
    config: RunConfig, estimate: MemoryEstimate, free: int | None, whose: str
) -> RecipeWarning | None:
    if free is None or estimate.total_bytes <= free:
        return None
    message = (
        f"The run needs about {memory_words(estimate.total_bytes)} of memory, and {whose} "
        f"{memory_words(free)} free: it may run out. {memory_cure(config, estimate)}"
    )
    return RecipeWarning(field="max_example_tokens", message=message)
