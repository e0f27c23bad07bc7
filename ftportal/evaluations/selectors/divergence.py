"""Forward KL to the parent: how differently a checkpoint speaks where nobody taught it to."""

from dataclasses import dataclass

from engine.manifest import file_sha256
from evaluation.judging.statistics import MeanEstimate
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.evaluations.models import Evaluation, Score

METRIC = "forward_kl_nats"
_SESSION = "session:"


@dataclass(frozen=True, kw_only=True)
class DivergenceRow:
    """Forward KL(parent ‖ checkpoint) on one held-out set, or on what one batch set aside."""

    title: str
    is_session: bool
    """Whether the texts are decisions of a batch that the lineage learned."""
    texts: int
    nats: float
    """Mean over tokens."""
    low_nats: float | None
    high_nats: float | None
    """95 % interval over texts; None for a single one."""


def divergence_rows(evaluation: Evaluation) -> list[DivergenceRow]:
    """A row a text, held-out sets first; empty where it was not measured."""
    scores = list(evaluation.scores.filter(metric=METRIC, value__isnull=False))
    sets = {one.sha256: one.name for one in evaluation.suite.held_out_sets.all()}
    keys = [one.benchmark.removeprefix(_SESSION) for one in scores if _is_session(one)]
    batches = {str(one.pk): one.name for one in Batch.objects.filter(pk__in=keys)}
    names = sets | {f"{_SESSION}{key}": name for key, name in batches.items()}
    return [_row(one, names.get(one.benchmark, one.benchmark)) for one in scores]


def _is_session(score: Score) -> bool:
    return score.benchmark.startswith(_SESSION)


def _row(score: Score, title: str) -> DivergenceRow:
    estimate = MeanEstimate(
        mean=score.value or 0.0, standard_error=score.stderr, degrees_of_freedom=score.n - 1
    )
    interval = estimate.interval(0.95)
    return DivergenceRow(
        title=title,
        is_session=_is_session(score),
        texts=score.n,
        nats=estimate.mean,
        low_nats=max(0.0, interval.low) if interval else None,
        high_nats=interval.high if interval else None,
    )


def divergence_missing(checkpoint: Checkpoint) -> str:
    """Why a checkpoint cannot be compared with its parent token by token; empty where it can."""
    parent = checkpoint.parent
    if parent is None:
        return "It is the pre-trained model: it has no parent."
    if parent.deleted_at is not None:
        return f"The files of its parent, {parent}, were deleted."
    try:
        same = _tokenizer(checkpoint) == _tokenizer(parent)
    except OSError:
        return "The tokenizer of the checkpoint or of its parent cannot be read."
    return "" if same else f"Its tokenizer is not that of its parent, {parent}."


def _tokenizer(checkpoint: Checkpoint) -> str:
    return file_sha256(checkpoint.directory / "tokenizer.json")
