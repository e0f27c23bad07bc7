"""Joins two measurements of the same things and computes what changed.

Items and documents are joined by hash, never by position. A comparison of things that are not the
same is refused with ComparisonError instead of being computed on what happens to overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from evaluation.judging import statistics
from evaluation.judging.paired import Document, Item, PairedItems, PairedTexts
from evaluation.judging.statistics import Interval, MeanEstimate

Measured = TypeVar("Measured", Item, Document)


class ComparisonError(Exception):
    """Two measurements are not of the same things; the text says which and what to do."""


def paired_benchmark(
    *,
    name: str,
    before: Sequence[Item],
    after: Sequence[Item],
) -> PairedItems:
    """Pair one benchmark's items. Raises ComparisonError where they are not the same items."""
    pairs = _joined(name, before, after, ("prompt_hash", "target_hash"))
    losses = [int(b.correct) - int(a.correct) for b, a in pairs]
    clusters = [b.cluster if b.cluster is not None else b.doc_hash for b, _ in pairs]
    changes = [
        a.margin_nats - b.margin_nats
        for b, a in pairs
        if a.margin_nats is not None and b.margin_nats is not None
    ]
    grouped = len(set(clusters)) < len(pairs)
    return benchmark_from_counts(
        name=name,
        n=len(pairs),
        lost=losses.count(1),
        gained=losses.count(-1),
        correct_before=sum(b.correct for b, _ in pairs),
        clustered=statistics.clustered_mean(losses, clusters) if grouped else None,
        nats=_nats(changes, clusters) if len(changes) == len(pairs) else None,
    )


def _nats(changes: Sequence[float], clusters: Sequence[str]) -> MeanEstimate:
    """Mean change of the margins; its error is over clusters where items share them."""
    if len(set(clusters)) < len(changes):
        return statistics.clustered_mean(changes, clusters)
    return statistics.paired_mean(changes)


def benchmark_from_counts(
    *,
    name: str,
    n: int,
    lost: int,
    gained: int,
    correct_before: int,
    clustered: MeanEstimate | None = None,
    nats: MeanEstimate | None = None,
) -> PairedItems:
    """The difference that these counts give; `clustered` is the mean LOSS over clusters."""
    loss_90, loss_95 = (
        statistics.loss_interval(lost, gained, n, clustered, level) for level in (0.90, 0.95)
    )
    return PairedItems(
        name=name,
        n=n,
        lost=lost,
        gained=gained,
        correct_before=correct_before,
        interval_90=loss_90.flipped(),
        interval_95=loss_95.flipped(),
        clustered=clustered,
        nats=nats,
    )


def benchmark_pooled(*, name: str, benchmarks: Sequence[PairedItems]) -> PairedItems:
    """All items of several benchmarks as one; clusters, where any, keep their extra spread."""
    n = sum(one.n for one in benchmarks)
    lost, gained = (sum(getattr(one, key) for one in benchmarks) for key in ("lost", "gained"))
    return benchmark_from_counts(
        name=name,
        n=n,
        lost=lost,
        gained=gained,
        correct_before=sum(one.correct_before for one in benchmarks),
        clustered=_clustered_pooled(benchmarks, (lost - gained) / n, n),
        nats=_nats_pooled(benchmarks, n),
    )


def paired_perplexity(
    *, domain: str, before: Sequence[Document], after: Sequence[Document]
) -> PairedTexts:
    """Pair one held-out set's documents. Raises ComparisonError where they differ."""
    pairs = _joined(domain, before, after, ("tokens",))
    nll_before, nll_after = [b.nll_nats for b, _ in pairs], [a.nll_nats for _, a in pairs]
    tokens = [b.tokens for b, _ in pairs]
    estimate = statistics.log_perplexity_ratio(nll_before, nll_after, tokens)
    return PairedTexts(
        domain=domain,
        documents=len(pairs),
        tokens=sum(tokens),
        perplexity_before=math.exp(sum(nll_before) / sum(tokens)),
        perplexity_after=math.exp(sum(nll_after) / sum(tokens)),
        log_ratio=estimate,
        interval_90=_exponential(estimate.interval(0.90)),
        interval_95=_exponential(estimate.interval(0.95)),
    )


def _joined(
    name: str, before: Sequence[Measured], after: Sequence[Measured], same: tuple[str, ...]
) -> list[tuple[Measured, Measured]]:
    """Pairs in the order of `before`, or ComparisonError where the two sides differ."""
    if not before or not after:
        raise ComparisonError(f"{name}: one side has no measurements; measure it first.")
    sides = []
    for side in (before, after):
        by_hash = {one.doc_hash: one for one in side}
        if len(by_hash) < len(side):
            raise ComparisonError(f"{name}: the same item appears twice; measure it again.")
        sides.append(by_hash)
    apart = len(sides[0].keys() ^ sides[1].keys())
    if apart:
        raise ComparisonError(
            f"{name}: {apart} items were measured on one side only; "
            "measure both checkpoints with the same suite and the same limit."
        )
    pairs = [(one, sides[1][one.doc_hash]) for one in before]
    for b, a in pairs:
        for key in same:
            if getattr(b, key) != getattr(a, key):
                raise ComparisonError(
                    f"{name}: the {key.replace('_hash', '')} of an item changed between the two "
                    "measurements; measure both with the same suite, settings and tokenizer."
                )
    return pairs


def _nats_pooled(benchmarks: Sequence[PairedItems], n: int) -> MeanEstimate | None:
    """The mean over all items; strata add their variances. None where a benchmark has no margin."""
    parts = [(one.n / n, one.nats) for one in benchmarks if one.nats is not None]
    if len(parts) < len(benchmarks):
        return None
    mean = sum(share * nats.mean for share, nats in parts)
    if any(nats.standard_error is None for _, nats in parts):
        return MeanEstimate(mean=mean, standard_error=None, degrees_of_freedom=0)
    return MeanEstimate(
        mean=mean,
        standard_error=math.hypot(*(share * (nats.standard_error or 0.0) for share, nats in parts)),
        degrees_of_freedom=sum(nats.degrees_of_freedom for _, nats in parts),
    )


def _clustered_pooled(
    benchmarks: Sequence[PairedItems], mean_loss: float, n: int
) -> MeanEstimate | None:
    """Strata add their variances; strata without clusters add that of their single items."""
    if all(one.clustered is None for one in benchmarks):
        return None
    variance, freedom, size = 0.0, 0, 0.0
    for one in benchmarks:
        losses = [1.0] * one.lost + [-1.0] * one.gained + [0.0] * (one.n - one.lost - one.gained)
        estimate = one.clustered or statistics.paired_mean(losses)
        if estimate.standard_error is None:
            return MeanEstimate(mean=mean_loss, standard_error=None, degrees_of_freedom=0)
        variance += (one.n / n * estimate.standard_error) ** 2
        freedom += estimate.degrees_of_freedom
        size += one.n / n * estimate.group_size
    return MeanEstimate(
        mean=mean_loss,
        standard_error=math.sqrt(variance),
        degrees_of_freedom=freedom,
        group_size=size,
    )


def _exponential(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(low=math.exp(interval.low), high=math.exp(interval.high))
