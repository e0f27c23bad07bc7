"""What is lost and gained on the way from a parent to a candidate, blend by blend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.judging.rule import Rule
from ftportal.blends.models import Blend
from ftportal.blends.selectors import blends_of
from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.selectors import measurements, sessions
from ftportal.dashboard.selectors.measurements import Measurement
from ftportal.dashboard.selectors.tradeoff import own_gains
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.evaluations.selectors import Change, live_evaluations
from ftportal.runs.models import Run


@dataclass(frozen=True, kw_only=True)
class Point:
    """One checkpoint on the way; changes are against the parent."""

    alpha: float
    """0 is the parent, 1 the candidate."""
    checkpoint: Checkpoint
    blend: Blend | None
    """None for the two ends."""
    accuracy: Change | None
    """None while it, or the parent, is not measured."""
    perplexity: Mapping[str, Change] = field(default_factory=dict)
    gain: Change | None = None
    """How much less surprising the session's own held-out examples are than to the parent, nats a
    decision token; None where no session is known."""
    verdicts: Sequence[Verdict] = ()
    """The newest against each baseline, the worst first."""

    @property
    def verdict(self) -> Verdict | None:
        """The worst."""
        return self.verdicts[0] if self.verdicts else None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The way from a candidate's parent to the candidate."""

    candidate: Checkpoint
    suite: Suite | None
    points: Sequence[Point]
    """Ordered by alpha: the parent, blends that are there, the candidate."""
    live: Sequence[Evaluation]
    """Measurements of these checkpoints that wait or run."""

    @property
    def measured(self) -> list[Point]:
        """The points that a curve can be drawn through."""
        return [one for one in self.points if one.accuracy is not None]

    @property
    def texts(self) -> list[str]:
        """The names of the held-out sets that were measured."""
        return measurements.names_in_order(one.perplexity for one in self.points)

    @property
    def rule(self) -> Rule:
        """What the suite allows one session to lose."""
        return Rule.from_json(self.suite.rule.rule) if self.suite else Rule()


def curve_of(candidate: Checkpoint) -> Curve:
    """Everything known of a candidate's blends; a fixed number of queries.

    Raises ValueError for a checkpoint without a parent.
    """
    parent = candidate.parent
    if parent is None:
        raise ValueError(f"{candidate} has no parent")
    there = [blend for blend in blends_of(candidate) if blend.result is not None]
    places: list[tuple[float, Checkpoint, Blend | None]] = [
        (0.0, parent, None),
        *((blend.alpha, blend.result, blend) for blend in there if blend.result is not None),
        (1.0, candidate, None),
    ]
    ids = [one.pk for _, one, _ in places]
    suite = measurements.suite_in_common(ids)
    evaluation_of = measurements.evaluations_by_checkpoint(ids, suite)
    measured = measurements.measurements(evaluation_of.values())
    verdicts = sessions.verdicts_by_candidate([pk for pk in ids if pk != parent.pk])
    before = measured.get(evaluation_of.get(parent.pk, 0))
    gains = _gains(candidate, ids, suite)
    points = [
        _point(
            alpha=alpha,
            checkpoint=one,
            blend=blend,
            before=before,
            after=measured.get(evaluation_of.get(one.pk, 0)),
            verdicts=verdicts.get(one.pk, []),
            gain=gains.get(one.pk),
        )
        for alpha, one, blend in places
    ]
    live = live_evaluations([one for _, one, _ in places])
    return Curve(candidate=candidate, suite=suite, points=points, live=live)


def _point(
    *,
    alpha: float,
    checkpoint: Checkpoint,
    blend: Blend | None,
    before: Measurement | None,
    after: Measurement | None,
    verdicts: Sequence[Verdict],
    gain: Change | None,
) -> Point:
    accuracy: Change | None = None
    perplexity: dict[str, Change] = {}
    if before is not None and after is not None:
        accuracy = measurements.accuracy_change(before, after)
        perplexity = {name: measurements.text_change(before, after, name) for name in after.texts}
    return Point(
        alpha=alpha,
        checkpoint=checkpoint,
        blend=blend,
        accuracy=accuracy,
        perplexity=perplexity,
        verdicts=verdicts,
        gain=gain,
    )


def _gains(
    candidate: Checkpoint, checkpoint_ids: Sequence[int], suite: Suite | None
) -> dict[int, Change]:
    """The gain of every checkpoint on the way, on what the candidate's own session taught."""
    run = Run.objects.filter(output=candidate).prefetch_related("mixture__batch").first()
    return own_gains(run, checkpoint_ids, suite) if run is not None else {}
