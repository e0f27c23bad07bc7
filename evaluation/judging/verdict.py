"""Did it forget? One answer, retained, forgotten or inconclusive, with a reason in plain words.

"No significant difference" is never taken for "nothing was forgotten": retained has to be shown.
The model is retained only where every comparison that counts is non-inferior (an
intersection-union test, which needs no correction). It has forgotten where one comparison shows a
loss; naming the guilty one among several is what Holm's correction is for. Where the items of all
benchmarks are pooled to show that nothing was lost, a single benchmark can still show a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.judging import statistics, verdict_words
from evaluation.judging.comparison import (
    FORGOTTEN,
    INCONCLUSIVE,
    RETAINED,
    BenchmarkComparison,
    PerplexityComparison,
    benchmark_judge,
    perplexity_judge,
)
from evaluation.judging.paired import PairedItems, PairedTexts
from evaluation.judging.pairing import benchmark_pooled
from evaluation.judging.rule import Rule

POOLED_NAME = "all benchmarks"
"""The name of the comparison that takes the items of all benchmarks together."""
POOLED_TITLE = "All benchmarks together"
"""What pages call it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of one checkpoint against one baseline, with its evidence."""

    outcome: str
    """retained, forgotten or inconclusive."""
    reason: str
    """One or two plain sentences that name what decided, with its figures."""
    rule: Rule
    benchmarks: tuple[BenchmarkComparison, ...]
    pooled: BenchmarkComparison | None
    """All items together; None where no benchmark was compared."""
    perplexities: tuple[PerplexityComparison, ...]
    stops: tuple[str, ...] = ()
    """In adaptive mode: where each group of benchmarks was stopped, in words."""

    def stopped_early(self, stops: Sequence[str]) -> Verdict:
        """The same verdict, saying that items came in random order and where that ended."""
        reason = f"{self.reason} Asked in random order, {'; '.join(stops)}."
        return replace(self, stops=tuple(stops), reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values, for storage."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "rule": self.rule.to_json(),
            "benchmarks": [one.to_json() for one in self.benchmarks],
            "pooled": self.pooled.to_json() if self.pooled else None,
            "perplexities": [one.to_json() for one in self.perplexities],
            "stops": list(self.stops),
        }


def verdict(
    benchmarks: Sequence[PairedItems],
    perplexities: Sequence[PairedTexts],
    rule: Rule,
    titles: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge paired differences together under a rule.

    `titles` gives the names that the reason uses for benchmarks and domains.
    """
    by_rule = [benchmark_under(rule, one) for one in benchmarks]
    return comparisons_judge(
        benchmarks=by_rule,
        totals=[_pooled_under(rule, by_rule)] if by_rule else [],
        perplexities=perplexities,
        rule=rule,
        titles=titles or {},
    )


def comparisons_judge(
    *,
    benchmarks: Sequence[BenchmarkComparison],
    totals: Sequence[BenchmarkComparison],
    perplexities: Sequence[PairedTexts],
    rule: Rule,
    titles: Mapping[str, str],
) -> Verdict:
    """Judge benchmarks that were judged alone by the rule already, and held-out texts.

    `totals` decide where the rule pools: the items of several benchmarks as one.
    """
    by_rule, pooled = list(benchmarks), list(totals)
    texts = [_perplexity_under(rule, one) for one in perplexities]
    if rule.gate_on == "pooled":
        pooled, texts = _corrected(pooled, texts)
        by_rule, _ = _corrected(by_rule, [])
        # Gains elsewhere do not make up for a benchmark that has shown a loss of its own.
        guilty = [one for one in by_rule if one.outcome == FORGOTTEN]
        gating: list[BenchmarkComparison | PerplexityComparison] = [*pooled, *guilty, *texts]
    else:
        by_rule, texts = _corrected(by_rule, texts)
        gating = [*by_rule, *texts]
    outcome = _overall([one.outcome for one in gating])
    return Verdict(
        outcome=outcome,
        reason=verdict_words.reason(outcome, gating, by_rule, titles),
        rule=rule,
        benchmarks=tuple(by_rule),
        pooled=pooled[0] if pooled else None,
        perplexities=tuple(texts),
    )


def _overall(outcomes: Sequence[str]) -> str:
    if FORGOTTEN in outcomes:
        return FORGOTTEN
    if not outcomes or INCONCLUSIVE in outcomes:
        return INCONCLUSIVE
    return RETAINED


def benchmark_under(rule: Rule, one: PairedItems) -> BenchmarkComparison:
    """A benchmark's difference judged by the rule's margin for it and its error rate."""
    return benchmark_judge(one, margin=rule.margin_for(one.name), alpha=rule.alpha)


def _pooled_under(rule: Rule, benchmarks: Sequence[PairedItems]) -> BenchmarkComparison:
    pooled = benchmark_pooled(name=POOLED_NAME, benchmarks=benchmarks)
    return benchmark_judge(pooled, margin=rule.pooled_margin, alpha=rule.alpha)


def _perplexity_under(rule: Rule, one: PairedTexts) -> PerplexityComparison:
    return perplexity_judge(one, margin_ratio=rule.perplexity_margin_ratio, alpha=rule.alpha)


def _corrected(
    benchmarks: Sequence[BenchmarkComparison], texts: Sequence[PerplexityComparison]
) -> tuple[list[BenchmarkComparison], list[PerplexityComparison]]:
    """The comparisons of one family, corrected so that together they raise few false alarms.

    Holm's correction for every p of a loss, and lower limits of the loss at alpha over their
    number: of ten limits at alpha, one lies above a small margin in a fifth of the cases where
    nothing was lost.
    """
    family = [one.p_loss for one in benchmarks]
    family += [one.p_loss for one in texts if one.p_loss is not None]
    adjusted = iter(statistics.holm(family))
    corrected = [
        replace(one, p_loss_holm=next(adjusted), loss_low=_loss_low(one, len(family)))
        for one in benchmarks
    ]
    return corrected, [
        one
        if one.p_loss is None
        else replace(one, p_loss_holm=next(adjusted), judged_together=len(family))
        for one in texts
    ]


def _loss_low(one: BenchmarkComparison, judged_together: int) -> float:
    if judged_together == 1 or one.items_in_all is not None:
        return one.loss_low  # adaptive mode knows beforehand how many are judged together
    level = 1 - 2 * one.alpha / judged_together
    return statistics.loss_interval(one.lost, one.gained, one.n, one.clustered, level).low
