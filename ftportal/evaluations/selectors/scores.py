"""Scores as pages show them: one checkpoint with its intervals, or several side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.judging import statistics
from evaluation.judging.paired import Document, Item
from evaluation.judging.verdict import POOLED_NAME, POOLED_TITLE
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors.benchmarks import benchmark_titles
from ftportal.evaluations.selectors.change import (
    Change,
    items_change,
    perplexity_change,
    pooled_change,
)
from ftportal.evaluations.selectors.measured import (
    documents_of,
    items_of,
    measured_evaluation,
)

ACCURACY, PERPLEXITY = "accuracy", "perplexity"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One checkpoint's figure in a row, with its 95 % interval."""

    value: float
    """Accuracy as a share of the items, or perplexity per token."""
    low: float | None
    high: float | None
    change: Change | None = None
    """From the baseline; None: this is the baseline, or one of the two is not measured."""
    margin_nats: float | None = None
    """Mean margin of a benchmark's items; None where an item has none."""
    margin_interval: statistics.Interval | None = None
    """Its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A benchmark or a held-out set; `cells` in the order of the checkpoints, None: unmeasured."""

    name: str
    title: str
    kind: str
    """accuracy (a share, higher is better) or perplexity (per token, lower is better)."""
    n: int
    """Items, or documents."""
    cells: list[Cell | None] = field(default_factory=list)
    is_total: bool = False

    @property
    def higher_is_better(self) -> bool:
        """Whether a rise is good news."""
        return self.kind == ACCURACY


def comparison_rows(checkpoints: Sequence[Checkpoint], suite: Suite) -> list[Row]:
    """Checkpoints side by side by one suite; differences are from the first one given.

    The first row takes all benchmarks together, where there is more than one. A checkpoint that
    is not measured has None in every row; where the first is not, there are no differences.
    """
    measured = [measured_evaluation(one, suite) for one in checkpoints]
    rows = _accuracy_rows([items_of(one) if one else {} for one in measured])
    return rows + _perplexity_rows([documents_of(one) if one else {} for one in measured])


def score_rows(evaluation: Evaluation) -> list[Row]:
    """One evaluation's scores with their intervals."""
    rows = _accuracy_rows([items_of(evaluation)])
    return rows + _perplexity_rows([documents_of(evaluation)])


def _accuracy_rows(sides: list[dict[str, list[Item]]]) -> list[Row]:
    titles = benchmark_titles()
    names = list(dict.fromkeys(name for side in sides for name in side))
    rows = []
    for name in names:
        row = Row(
            name=name,
            title=titles.get(name, name),
            kind=ACCURACY,
            n=max(len(side.get(name, [])) for side in sides),
        )
        for place, side in enumerate(sides):
            change = None
            if place and name in sides[0] and name in side:
                change = items_change(name, sides[0][name], side[name])
            row.cells.append(_accuracy_cell(side.get(name, []), change))
        rows.append(row)
    if len(names) < 2:
        return rows
    return [_total_row(sides, rows), *rows]


def _total_row(sides: list[dict[str, list[Item]]], rows: list[Row]) -> Row:
    total = Row(
        name=POOLED_NAME,
        title=POOLED_TITLE,
        kind=ACCURACY,
        n=sum(row.n for row in rows),
        is_total=True,
    )
    for place, side in enumerate(sides):
        items = [item for benchmark in side.values() for item in benchmark]
        change = pooled_change(sides[0], side) if place and sides[0] and side else None
        total.cells.append(_accuracy_cell(items, change))
    return total


def _accuracy_cell(items: list[Item], change: Change | None) -> Cell | None:
    if not items:
        return None
    correct = sum(item.correct for item in items)
    interval = statistics.wilson_interval(correct, len(items))
    margin = _margin(items)
    return Cell(
        value=correct / len(items),
        low=interval.low,
        high=interval.high,
        change=change,
        margin_nats=margin.mean if margin else None,
        margin_interval=margin.interval(0.95) if margin else None,
    )


def _margin(items: list[Item]) -> statistics.MeanEstimate | None:
    """The mean margin of items; None where an item has none."""
    margins = [one.margin_nats for one in items if one.margin_nats is not None]
    return statistics.paired_mean(margins) if len(margins) == len(items) else None


def _perplexity_rows(sides: list[dict[str, list[Document]]]) -> list[Row]:
    names = list(dict.fromkeys(name for side in sides for name in side))
    return [
        Row(
            name=name,
            title=name,
            kind=PERPLEXITY,
            n=max(len(side.get(name, [])) for side in sides),
            cells=[
                _perplexity_cell(name, sides[0].get(name, []) if place else [], side.get(name, []))
                for place, side in enumerate(sides)
            ],
        )
        for name in names
    ]


def _perplexity_cell(name: str, before: list[Document], documents: list[Document]) -> Cell | None:
    if not documents:
        return None
    # The mean likelihood a token is a ratio of sums: its logarithm has the ratio's standard error.
    mean_nats = statistics.log_perplexity_ratio(
        [0.0] * len(documents),
        [one.nll_nats for one in documents],
        [one.tokens for one in documents],
    )
    interval = mean_nats.interval(0.95)
    low, high = (math.exp(interval.low), math.exp(interval.high)) if interval else (None, None)
    change = perplexity_change(name, before, documents) if before else None
    return Cell(value=math.exp(mean_nats.mean), low=low, high=high, change=change)
