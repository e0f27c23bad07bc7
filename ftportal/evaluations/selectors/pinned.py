"""What a measurement takes over from the one that it will be compared with."""

from collections.abc import Sequence
from typing import Any

from evaluation.config import AUTO
from ftportal.evaluations.models import Evaluation, Retention
from ftportal.evaluations.selectors.measured import baselines, measured_evaluation

LEFT_OPEN = ("dtype", "batch_size")
"""What a suite may leave to the engine. Both change the last bits of a likelihood, so what the
first measurement of a model by a suite has found holds for all that follow."""


def pinned_fields(evaluation: Evaluation) -> dict[str, Any]:
    """Fields of the engine's config that its suite leaves open and another measurement has settled,
    with that one's name; empty where there is none yet."""
    open_fields = [name for name in LEFT_OPEN if evaluation.suite.settings.get(name) == AUTO]
    first = _first_side(evaluation) if open_fields else None
    if first is None:
        return {}
    settled = {name: first.settings[name] for name in open_fields if name in first.settings}
    return settled | {"pinned_by": str(first.checkpoint)} if settled else {}


def _first_side(evaluation: Evaluation) -> Evaluation | None:
    """The first measurement where this repeats it, what an early stop is held against, the nearest
    baseline, or whatever of the same model was measured first."""
    if evaluation.against is not None:
        return evaluation.against
    checkpoint, suite = evaluation.checkpoint, evaluation.suite
    nearest = reversed(baselines(checkpoint))
    for one in (checkpoint, *nearest) if evaluation.repeat else nearest:
        measured = measured_evaluation(one, suite)
        if measured is not None:
            return measured
    return (
        Evaluation.objects.filter(
            measured=True,
            suite__content_hash=suite.content_hash,
            checkpoint__language_model=checkpoint.language_model_id,
        )
        .select_related("checkpoint")
        .order_by("created_at", "pk")
        .first()
    )


def retention_dtype(kept: Sequence[Retention]) -> str:
    """The number format of what measures only what a checkpoint kept: that of the first such
    measurement of its model, where it is left open."""
    one = kept[0]
    if one.dtype != AUTO:
        return one.dtype
    first = (
        Retention.objects.filter(
            measured=True, dtype=AUTO, checkpoint__language_model=one.checkpoint.language_model_id
        )
        .order_by("created_at", "pk")
        .first()
    )
    return str(first.settings.get("dtype", AUTO)) if first else AUTO
