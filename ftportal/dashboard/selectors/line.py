"""One line through the tree, session by session: what each lost, and what all of them add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import lineage
from ftportal.dashboard.selectors import measurements, sessions
from ftportal.dashboard.selectors.measurements import Measurement
from ftportal.evaluations.models import Suite, Verdict
from ftportal.evaluations.selectors import Change


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One measure after one session: its own share, the sum of all so far, and the budget."""

    name: str
    """Of the held-out set; empty for the right answers over all benchmarks."""
    alone: Change | None
    """Against the parent: what this session did. None where the parent is not measured."""
    total: Change
    """Against the pre-trained model: what all sessions up to this one did."""
    allowed: float
    """How far `total` may go: negative for right answers (a share), positive for perplexity."""

    @property
    def unit(self) -> str:
        """Of all figures, after multiplying them by 100."""
        return "%" if self.name else "points"

    @property
    def percents(self) -> Mapping[str, float | None]:
        """Everything in hundredths: alone, total, low, high, allowed."""
        total = self.total.hundredths
        return {
            "alone": self.alone.hundredths["value"] if self.alone else None,
            "total": total["value"],
            "low": total["low"],
            "high": total["high"],
            "allowed": 100 * self.allowed,
        }

    @property
    def is_beyond(self) -> bool:
        """Whether the sum has used up the budget; a verdict also asks how sure that is."""
        if self.total.value is None:
            return False
        return self.total.value > self.allowed if self.name else self.total.value < self.allowed


@dataclass(frozen=True, kw_only=True)
class Session:
    """One session of a line, measured."""

    number: int
    checkpoint: Checkpoint
    accuracy: Entry
    perplexity: Mapping[str, Entry]
    verdict: Verdict | None
    """Against the pre-trained model."""

    @property
    def entries(self) -> list[Entry]:
        """Right answers first, then every held-out set."""
        return [self.accuracy, *self.perplexity.values()]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A checkpoint's ancestors, measured by one suite against the pre-trained model."""

    end: Checkpoint
    suite: Suite | None
    sessions: Sequence[Session]
    unmeasured: Sequence[Checkpoint]
    """Checkpoints of the line without a measurement by the suite: gaps in its charts."""

    @property
    def texts(self) -> list[str]:
        """The names of the held-out sets that were measured."""
        return measurements.names_in_order(one.perplexity for one in self.sessions)

    @property
    def last(self) -> Session | None:
        """Where the line stands now; None while that is not measured."""
        if self.sessions and self.sessions[-1].checkpoint == self.end:
            return self.sessions[-1]
        return None


def line_of(end: Checkpoint) -> Line:
    """The line from the pre-trained model to `end`, one entry a measured session.

    A fixed number of queries. The first session has the rule's own margins; from the second on
    its cumulative budget applies, as in the verdicts against the pre-trained model.
    """
    path = lineage(end)
    ids = [one.pk for one in path]
    suite = measurements.suite_in_common(ids)
    evaluation_of = measurements.evaluations_by_checkpoint(ids, suite)
    measured = measurements.measurements(evaluation_of.values())
    of = {pk: measured[evaluation] for pk, evaluation in evaluation_of.items()}
    verdicts = sessions.verdicts_by_candidate(ids)
    anchor = path[0]
    rule = Rule.from_json(suite.rule.rule) if suite else Rule()
    on_the_line = [
        _session(
            checkpoint=one,
            anchor=of[anchor.pk],
            before=of.get(one.parent_id or 0),
            after=of[one.pk],
            rule=rule if one.depth < 2 else rule.against_anchor(),
            verdict=next(
                (v for v in verdicts.get(one.pk, []) if v.before.checkpoint_id == anchor.pk), None
            ),
        )
        for one in path[1:]
        if one.pk in of and anchor.pk in of
    ]
    return Line(
        end=end,
        suite=suite,
        sessions=on_the_line,
        unmeasured=[one for one in path if one.pk not in of],
    )


def _session(
    *,
    checkpoint: Checkpoint,
    anchor: Measurement,
    before: Measurement | None,
    after: Measurement,
    rule: Rule,
    verdict: Verdict | None,
) -> Session:
    def perplexity(name: str) -> Entry:
        return Entry(
            name=name,
            alone=measurements.text_change(before, after, name) if before else None,
            total=measurements.text_change(anchor, after, name),
            allowed=rule.perplexity_margin_ratio - 1,
        )

    return Session(
        number=checkpoint.depth,
        checkpoint=checkpoint,
        accuracy=Entry(
            name="",
            alone=measurements.accuracy_change(before, after) if before else None,
            total=measurements.accuracy_change(anchor, after),
            allowed=-rule.pooled_margin,
        ),
        perplexity={name: perplexity(name) for name in after.texts},
        verdict=verdict,
    )
