"""One training session in a row: its recipe in words, what it learned, and what became of it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import BatchKind
from ftportal.evaluations.models import Verdict, VerdictOutcome
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.selectors import Progress, progress_by_pk
from ftportal.runs.models import Curve, Run

_WORST_FIRST = (VerdictOutcome.FORGOTTEN, VerdictOutcome.INCONCLUSIVE, VerdictOutcome.RETAINED)


@dataclass(frozen=True, kw_only=True)
class LossEnds:
    """Mean loss of a run's first and last steps, nats a decision token."""

    first_nats: float
    last_nats: float
    steps: int


def general_share(run: Run) -> float | None:
    """Share of general examples in the mixture; None where it is empty. Reads `run.mixture`."""
    parts = [(part.batch.kind, part.weight) for part in run.mixture.all()]
    total = sum(weight for _, weight in parts)
    if not total:
        return None
    return sum(weight for kind, weight in parts if kind == BatchKind.GENERAL) / total


def loss_ends(run_ids: Collection[int]) -> dict[int, LossEnds]:
    """Run -> mean loss over its first and its last MEAN_STEPS steps, in one query.

    Single steps see single examples and jump about. Shorter runs are averaged by halves.
    """
    halves = ("known_count", "first_half_mean", "last_half_mean")
    return {
        run_id: LossEnds(first_nats=first, last_nats=last, steps=steps)
        for run_id, steps, first, last in _curves(run_ids, "loss_nats").values_list(
            "run_id", *halves
        )
        if first is not None and last is not None
    }


def last_values(run_ids: Collection[int], name: str) -> dict[int, float]:
    """Run -> the last value of one metric that was finite, in one query."""
    rows = _curves(run_ids, name).values_list("run_id", "last_known")
    return {run_id: value for run_id, value in rows if value is not None}


def _curves(run_ids: Collection[int], name: str) -> QuerySet[Curve]:
    return Curve.objects.filter(run__in=run_ids, name=name)


def verdicts_by_candidate(checkpoint_ids: Collection[int]) -> dict[int, list[Verdict]]:
    """Candidate -> the newest verdict against each of its baselines, the worst outcome first."""
    rows = (
        Verdict.objects.filter(after__checkpoint__in=checkpoint_ids)
        .select_related("before__checkpoint", "after")
        .defer("evidence")
        .order_by("-created_at", "-pk")
    )
    newest: dict[tuple[int, int], Verdict] = {}
    for verdict in rows:
        pair = (verdict.after.checkpoint_id, verdict.before.checkpoint_id)
        newest.setdefault(pair, verdict)
    by_candidate: dict[int, list[Verdict]] = defaultdict(list)
    for (candidate, _), verdict in newest.items():
        by_candidate[candidate].append(verdict)
    for verdicts in by_candidate.values():
        verdicts.sort(key=lambda verdict: _WORST_FIRST.index(VerdictOutcome(verdict.outcome)))
    return dict(by_candidate)


@dataclass(frozen=True, kw_only=True)
class ReviewState:
    """The newest spot-check of a candidate and how far it is. Open ones show no findings."""

    spot_check: SpotCheck
    progress: Progress

    @property
    def is_open(self) -> bool:
        """Whether people vote on it now."""
        return self.spot_check.state == SpotCheckState.OPEN

    @property
    def word(self) -> str:
        """What the badge says instead of the state's usual word; empty for the usual one."""
        if not self.is_open:
            return ""
        return f"In review, {self.progress.judged_count} of {self.progress.item_count}"


def reviews_by_candidate(
    checkpoint_ids: Collection[int], viewer: object = None
) -> dict[int, ReviewState]:
    """Candidate -> its newest spot-check, in three queries.

    Without what nobody decides any more, and without what `viewer` may still judge: the row would
    name its candidate.
    """
    newest: dict[int, SpotCheck] = {}
    checks = (
        SpotCheck.objects.filter(candidate__in=checkpoint_ids)
        .exclude(state=SpotCheckState.CLOSED)
        .exclude(pk__in=blindness_of(viewer).checks)
    )
    for check in checks.order_by("-created_at", "-pk"):
        newest.setdefault(check.candidate_id, check)
    progress = progress_by_pk(newest.values())
    return {
        candidate: ReviewState(spot_check=check, progress=progress[check.pk])
        for candidate, check in newest.items()
    }


def result_of(run: Run) -> Checkpoint | None:
    """What a run ended in: its checkpoint, or an earlier one with the very same weights."""
    return run.output or run.same_as


def results_of(runs: Sequence[Run]) -> list[int]:
    """Primary keys of the checkpoints that these runs ended in."""
    return [result.pk for run in runs if (result := result_of(run)) is not None]
