"""What a session cost, gathered for the panel on the pages of checkpoints and runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.presentation import VerdictPage, verdict_page
from ftportal.evaluations.selectors import (
    Row,
    baselines,
    comparison_rows,
    early_evaluations,
    evaluation_of,
    latest_verdict,
    live_evaluations,
    measured_evaluation,
    retention_jobs,
    suites_in_use,
)
from ftportal.jobs.models import Job


@dataclass(frozen=True, kw_only=True)
class Card:
    """The judgement against one baseline, or why there is none yet."""

    baseline: Checkpoint
    word: str
    """What the baseline is: the champion, its parent or the pre-trained model."""
    page: VerdictPage | None
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One checkpoint of the table side by side."""

    checkpoint: Checkpoint
    word: str
    evaluation: Evaluation | None


@dataclass(frozen=True, kw_only=True)
class Block:
    """One suite: verdicts and figures."""

    suite: Suite
    evaluation: Evaluation
    cards: list[Card]
    columns: list[Column]
    rows: list[Row]

    @property
    def can_judge(self) -> bool:
        """Whether a verdict is missing that asking for it would bring."""
        return any(card.page is None for card in self.cards)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Everything the panel shows."""

    checkpoint: Checkpoint
    blocks: list[Block] = field(default_factory=list)
    live: list[Evaluation] = field(default_factory=list)
    failed: list[Evaluation] = field(default_factory=list)
    unmeasured: list[Suite] = field(default_factory=list)
    early: list[Evaluation] = field(default_factory=list)
    """What was stopped as soon as it was certain, by suites that were not measured whole since."""
    early_suites: list[Suite] = field(default_factory=list)
    """By which it can be measured so: there are answers to hold it against."""
    retention_jobs: list[Job] = field(default_factory=list)
    """What measures only what was kept of sessions: alive, or ended without result."""


def panel_of(checkpoint: Checkpoint) -> Panel:
    """Verdicts and scores of a checkpoint by every suite, the default one first."""
    compared = baselines(checkpoint)
    panel = Panel(
        checkpoint=checkpoint,
        live=live_evaluations([*compared, checkpoint]),
        retention_jobs=retention_jobs([*compared, checkpoint]),
    )
    for suite in suites_in_use():
        evaluation = evaluation_of(checkpoint, suite)
        if evaluation is None:
            panel.unmeasured.append(suite)
            if compared and suite.benchmarks and measured_evaluation(compared[-1], suite):
                panel.early_suites.append(suite)
        elif evaluation.measured:
            panel.blocks.append(_block(checkpoint, suite, evaluation, compared))
        elif not evaluation.job.is_live:
            panel.failed.append(evaluation)
    whole = {block.suite for block in panel.blocks}
    for evaluation in early_evaluations(checkpoint):
        if evaluation.job.is_live:
            panel.live.append(evaluation)
        elif evaluation.suite not in whole:
            panel.early.append(evaluation)
    return panel


def _block(
    checkpoint: Checkpoint, suite: Suite, evaluation: Evaluation, compared: Sequence[Checkpoint]
) -> Block:
    shown = [*compared, checkpoint]
    return Block(
        suite=suite,
        evaluation=evaluation,
        cards=cards_of(evaluation, suite, compared),
        columns=[
            Column(
                checkpoint=one,
                word="This one" if one == checkpoint else _SHORT[baseline_word(one, checkpoint)],
                evaluation=evaluation_of(one, suite),
            )
            for one in shown
        ],
        rows=comparison_rows(shown, suite),
    )


def cards_of(evaluation: Evaluation, suite: Suite, compared: Sequence[Checkpoint]) -> list[Card]:
    """The judgement against each baseline, or why there is none; the anchor comes last, for the
    champion and the parent are nearer to the question of today."""
    return [_card(evaluation, suite, baseline) for baseline in reversed(compared)]


def _card(evaluation: Evaluation, suite: Suite, baseline: Checkpoint) -> Card:
    checkpoint = evaluation.checkpoint
    verdict = latest_verdict(checkpoint, baseline, suite)
    return Card(
        baseline=baseline,
        word=baseline_word(baseline, checkpoint),
        page=verdict_page(verdict) if verdict else None,
        missing="" if verdict else _why_missing(evaluation, suite, baseline),
    )


def _why_missing(evaluation: Evaluation, suite: Suite, baseline: Checkpoint) -> str:
    if evaluation.problem:
        return evaluation.problem
    measured = evaluation_of(baseline, suite)
    if measured is None:
        return f"{baseline} is not measured by {suite} yet."
    if measured.measured:
        return f"Both are measured, but were not compared: {baseline} became the champion later."
    if measured.job.is_live:
        return f"The verdict follows as soon as {baseline} is measured."
    return f"The measurement of {baseline} did not come to its end."


_SHORT = {
    "The pre-trained model": "Pre-trained",
    "The champion": "Champion",
    "Its parent": "Parent",
    "An earlier champion": "Earlier champion",
}
"""For the heads of narrow columns."""


def baseline_word(baseline: Checkpoint, candidate: Checkpoint) -> str:
    """What a baseline is to the checkpoint that is judged against it."""
    if baseline.is_pretrained:
        return "The pre-trained model"
    if baseline == champion(candidate.language_model):
        return "The champion"
    return "Its parent" if baseline.pk == candidate.parent_id else "An earlier champion"
