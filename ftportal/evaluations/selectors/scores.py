"""Scores as pages show them: one checkpoint with its intervals, or several side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from evaluation.judging import statistics
from evaluation.judging.paired import Document, Item, PairedItems
from evaluation.judging.pairing import (
    ComparisonError,
    benchmark_pooled,
    paired_benchmark,
    paired_perplexity,
)
from evaluation.judging.verdict import POOLED_NAME, POOLED_TITLE
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors.benchmarks import benchmark_titles
from ftportal.evaluations.selectors.measured import (
    documents_of,
    items_of,
    measured_evaluation,
)

ACCURACY, PERPLEXITY = "accuracy", "perplexity"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One checkpoint's figure in a row, with 95 % intervals; differences are from the baseline."""

    value: float
    """Accuracy as a share of the items, or perplexity per token."""
    low: float | None
    high: float | None
    difference: float | None = None
    """Accuracy: after minus before, a share. Perplexity: the ratio minus 1. None: the baseline."""
    difference_low: float | None = None
    difference_high: float | None = None
    lost: int | None = None
    gained: int | None = None
    margin_nats: float | None = None
    """Mean margin of a benchmark's items; None where an item has none."""
    margin_interval: statistics.Interval | None = None
    """Its 95 % interval."""
    problem: str = ""
    """Why there is no difference although both were measured."""

    @property
    def difference_hundredths(self) -> float | None:
        """The difference in points of 100 answers, or in percent of perplexity."""
        return _hundredths(self.difference)

    @property
    def low_hundredths(self) -> float | None:
        """Lower limit of the difference, in the same unit."""
        return _hundredths(self.difference_low)

    @property
    def high_hundredths(self) -> float | None:
        """Upper limit of the difference, in the same unit."""
        return _hundredths(self.difference_high)


def _hundredths(share: float | None) -> float | None:
    return None if share is None else 100 * share


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
    compared: list[list[PairedItems]] = [[] for _ in sides]
    for name in names:
        row = Row(
            name=name,
            title=titles.get(name, name),
            kind=ACCURACY,
            n=max(len(side.get(name, [])) for side in sides),
        )
        for place, side in enumerate(sides):
            comparison, problem = _benchmark(name, sides[0], side) if place else (None, "")
            if comparison is not None:
                compared[place].append(comparison)
            row.cells.append(_accuracy_cell(side.get(name, []), comparison, problem))
        rows.append(row)
    if len(names) < 2:
        return rows
    return [_total_row(sides, compared, rows), *rows]


def _total_row(
    sides: list[dict[str, list[Item]]],
    compared: list[list[PairedItems]],
    rows: list[Row],
) -> Row:
    total = Row(
        name=POOLED_NAME,
        title=POOLED_TITLE,
        kind=ACCURACY,
        n=sum(row.n for row in rows),
        is_total=True,
    )
    for side, comparisons in zip(sides, compared, strict=True):
        pooled = None
        if len(comparisons) == len(rows):
            pooled = benchmark_pooled(name=POOLED_NAME, benchmarks=comparisons)
        items = [item for benchmark in side.values() for item in benchmark]
        total.cells.append(_accuracy_cell(items, pooled, ""))
    return total


def _benchmark(
    name: str, before: dict[str, list[Item]], after: dict[str, list[Item]]
) -> tuple[PairedItems | None, str]:
    if name not in before or name not in after:
        return None, ""
    try:
        return paired_benchmark(name=name, before=before[name], after=after[name]), ""
    except ComparisonError as error:
        return None, str(error)


def _accuracy_cell(items: list[Item], comparison: PairedItems | None, problem: str) -> Cell | None:
    if not items:
        return None
    correct = sum(item.correct for item in items)
    interval = statistics.wilson_interval(correct, len(items))
    margin = _margin(items)
    alone = Cell(
        value=correct / len(items),
        low=interval.low,
        high=interval.high,
        problem=problem,
        margin_nats=margin.mean if margin else None,
        margin_interval=margin.interval(0.95) if margin else None,
    )
    if comparison is None:
        return alone
    return replace(
        alone,
        difference=comparison.difference,
        difference_low=comparison.interval_95.low,
        difference_high=comparison.interval_95.high,
        lost=comparison.lost,
        gained=comparison.gained,
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
    value = math.exp(mean_nats.mean)
    if not before:
        return Cell(value=value, low=low, high=high)
    try:
        compared = paired_perplexity(domain=name, before=before, after=documents)
    except ComparisonError as error:
        return Cell(value=value, low=low, high=high, problem=str(error))
    ratio = compared.interval_95
    return Cell(
        value=value,
        low=low,
        high=high,
        difference=compared.ratio - 1,
        difference_low=ratio.low - 1 if ratio else None,
        difference_high=ratio.high - 1 if ratio else None,
    )
