"""Mixtures that forget less, one click away: general examples, and what was learnt before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import BatchKind
from ftportal.datasets.selectors import batches_ready
from ftportal.runs.models import RunBatch

GENERAL_SHARE = 0.25
REPLAY_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Weights to set, batch -> weight, or the reason why there are none."""

    weights: Mapping[int, float]
    message: str


def general_suggest(parent: Checkpoint, weights: Mapping[int, float]) -> Suggestion:
    """Make GENERAL_SHARE of the examples general: of those chosen already, or the newest batch."""
    general = list(batches_ready(parent.language_model).filter(kind=BatchKind.GENERAL))
    if not general:
        message = "There is no general batch for this model: upload one first, such as "
        return Suggestion(weights={}, message=message + "examples/general-mix.jsonl.")
    keys = [one.pk for one in general]
    chosen = [key for key in keys if weights.get(key)] or keys[:1]
    return _suggest(chosen, keys, weights, GENERAL_SHARE, "general")


def replay_suggest(parent: Checkpoint, weights: Mapping[int, float]) -> Suggestion:
    """Make REPLAY_SHARE of the examples those that the parent's own sessions learned before."""
    ready = set(batches_ready(parent.language_model).values_list("pk", flat=True))
    learned = [key for key in lineage_batches(parent) if key in ready]
    if not learned:
        message = "Nothing was learnt before on the way to this checkpoint."
        return Suggestion(weights={}, message=message)
    fresh = [key for key in learned if not weights.get(key)]
    if not fresh:
        message = "Everything that was learnt before is in the mixture already."
        return Suggestion(weights={}, message=message)
    return _suggest(fresh, fresh, weights, REPLAY_SHARE, "from earlier sessions")


def lineage_batches(parent: Checkpoint) -> list[int]:
    """Batches of the sessions that made a checkpoint and its ancestors, the newest first."""
    batch_ids: dict[int, None] = {}
    one: Checkpoint | None = parent
    while one is not None:
        parts = RunBatch.objects.filter(run__output=one).order_by("pk")
        batch_ids |= dict.fromkeys(parts.values_list("batch_id", flat=True))
        one = one.parent
    return list(batch_ids)


def _suggest(
    chosen: Sequence[int],
    kin: Sequence[int],
    weights: Mapping[int, float],
    share: float,
    word: str,
) -> Suggestion:
    """Weights that give `chosen` together a share beside all that is not of their kin."""
    others = sum(weight for key, weight in weights.items() if key not in kin)
    if not others:
        return Suggestion(weights={}, message="First give the batch to learn a weight.")
    before = sum(weights.get(key, 0.0) for key in chosen)
    total = others * share / (1 - share)
    parts = {
        key: total * weights[key] / before if before else total / len(chosen) for key in chosen
    }
    return Suggestion(weights=parts, message=f"{100 * share:.0f} % of the examples are {word} now.")
