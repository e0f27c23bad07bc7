"""The noise floor of a suite: what differs when the same checkpoint is measured twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors.benchmarks import benchmark_titles


@dataclass(frozen=True, kw_only=True)
class NoiseRow:
    """One benchmark measured twice."""

    name: str
    title: str
    n: int
    lost: int
    """Right the first time and wrong the second, by chance alone."""
    gained: int


@dataclass(frozen=True, kw_only=True)
class NoiseText:
    """One held-out text measured twice."""

    title: str
    documents: int
    change_percent: float
    """Of its perplexity, by chance alone."""


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """The newest A/A control by a suite."""

    repeat: Evaluation
    rows: Sequence[NoiseRow] = field(default_factory=list)
    texts: Sequence[NoiseText] = field(default_factory=list)
    problem: str = ""
    """Why the two could not be compared."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What was measured twice."""
        return self.repeat.checkpoint

    @property
    def n(self) -> int:
        """Items of all benchmarks."""
        return sum(one.n for one in self.rows)

    @property
    def lost(self) -> int:
        """Over all benchmarks."""
        return sum(one.lost for one in self.rows)

    @property
    def gained(self) -> int:
        """Over all benchmarks."""
        return sum(one.gained for one in self.rows)

    @property
    def largest_change_percent(self) -> float:
        """The perplexity that moved most, as it is: up or down."""
        moves = [one.change_percent for one in self.texts]
        return max(moves, key=abs, default=0.0)


def noise_floor(
    suite: Suite, language_model: LanguageModel, checkpoint: Checkpoint | None = None
) -> NoiseFloor | None:
    """The newest A/A control by a suite of this content: of one checkpoint, or of any of a model.

    None where nobody has measured anything twice.
    """
    repeats = Evaluation.with_repeats.filter(
        repeat__gt=0,
        measured=True,
        suite__content_hash=suite.content_hash,
        checkpoint__language_model=language_model,
    )
    if checkpoint is not None:
        repeats = repeats.filter(checkpoint=checkpoint)
    newest = repeats.select_related("checkpoint", "suite").order_by("-created_at", "-pk").first()
    return _noise_floor(newest) if newest else None


def _noise_floor(repeat: Evaluation) -> NoiseFloor:
    titles = benchmark_titles()
    return NoiseFloor(
        repeat=repeat,
        rows=[
            NoiseRow(title=titles.get(one["name"], one["name"]), **one)
            for one in repeat.noise.get("benchmarks", [])
        ],
        texts=[
            NoiseText(
                title=one["name"],
                documents=one["documents"],
                change_percent=100 * (one["ratio"] - 1),
            )
            for one in repeat.noise.get("texts", [])
        ],
        problem=repeat.noise.get("problem", ""),
    )


def live_repeat(evaluation: Evaluation) -> Evaluation | None:
    """The repeat of a measurement that is not stored yet: alive, or ended without result."""
    repeats = Evaluation.with_repeats.filter(
        checkpoint=evaluation.checkpoint_id, suite=evaluation.suite_id, repeat__gt=0, measured=False
    )
    return repeats.select_related("job").order_by("-repeat").first()
