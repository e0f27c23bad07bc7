"""The forgetting report of a checkpoint: one comparison of it, chosen among those there are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import Distances, checkpoint_distances
from ftportal.evaluations.models import Suite, Verdict, VerdictOutcome
from ftportal.evaluations.panel import Card, baseline_word, cards_of
from ftportal.evaluations.presentation import verdict_page
from ftportal.evaluations.selectors import baselines, measured_evaluation, suites_in_use

_WORST_FIRST = [VerdictOutcome.FORGOTTEN, VerdictOutcome.INCONCLUSIVE, VerdictOutcome.RETAINED]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one page says about what a checkpoint has lost."""

    checkpoint: Checkpoint
    distances: Distances
    suite: Suite | None = None
    """By which it compares; None while no suite has measured the checkpoint."""
    suites: Sequence[Suite] = ()
    """All that have measured it."""
    cards: Sequence[Card] = field(default_factory=list)
    """A comparison with each baseline, judged or not."""
    card: Card | None = None
    """The comparison that is shown."""

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that is shown; None where there is none yet."""
        return self.card.page.verdict if self.card is not None and self.card.page else None


def report_of(
    checkpoint: Checkpoint, *, suite_key: int | None = None, baseline_key: int | None = None
) -> Report:
    """The report by the suite and against the baseline that are named by primary key.

    Without a name, or where nothing was measured so: the default suite, and of its comparisons
    the worst, for that is what the checkpoint will be judged by.
    """
    suites = _suites(checkpoint)
    suite = next((one for one in suites if one.pk == suite_key), suites[0] if suites else None)
    cards = _cards(checkpoint, suite) if suite else []
    named = [card for card in cards if card.baseline.pk == baseline_key]
    return Report(
        checkpoint=checkpoint,
        distances=checkpoint_distances(checkpoint),
        suite=suite,
        suites=suites,
        cards=cards,
        card=next(iter(named or sorted(cards, key=_severity)), None),
    )


def report_of_verdict(verdict: Verdict) -> Report:
    """The report that shows this very verdict, be it in force or not."""
    checkpoint, baseline = verdict.after.checkpoint, verdict.before.checkpoint
    suite, suites = verdict.after.suite, _suites(checkpoint)
    shown = Card(
        baseline=baseline, word=baseline_word(baseline, checkpoint), page=verdict_page(verdict)
    )
    cards = [shown if card.baseline == baseline else card for card in _cards(checkpoint, suite)]
    return Report(
        checkpoint=checkpoint,
        distances=checkpoint_distances(checkpoint),
        suite=suite,
        suites=suites if suite in suites else [suite, *suites],
        cards=cards if shown in cards else [*cards, shown],
        card=shown,
    )


def _suites(checkpoint: Checkpoint) -> list[Suite]:
    return [one for one in suites_in_use() if measured_evaluation(checkpoint, one)]


def _cards(checkpoint: Checkpoint, suite: Suite) -> list[Card]:
    evaluation = measured_evaluation(checkpoint, suite)
    return cards_of(evaluation, suite, baselines(checkpoint)) if evaluation else []


def _severity(card: Card) -> int:
    if card.page is None:
        return len(_WORST_FIRST)
    return _WORST_FIRST.index(VerdictOutcome(card.page.verdict.outcome))
