"""The reason of a verdict in words that need no statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from evaluation.judging.comparison import (
    FORGOTTEN,
    INCONCLUSIVE,
    BenchmarkComparison,
    PerplexityComparison,
)

Comparison = BenchmarkComparison | PerplexityComparison
MANY = 100_000
"""Above this, "about how many items" says only that it is more."""


def reason(
    outcome: str,
    gating: Sequence[Comparison],
    benchmarks: Sequence[BenchmarkComparison],
    titles: Mapping[str, str],
) -> str:
    """Say what decided, with its figures; the comparisons that caused the outcome come first."""
    if not gating:
        return "Nothing was measured on both sides, so nothing can be said."
    if outcome == FORGOTTEN:
        return _forgotten(gating, benchmarks, titles)
    if outcome == INCONCLUSIVE:
        open_ones = [one for one in gating if one.outcome == INCONCLUSIVE]
        parts = [_open(one, titles) for one in sorted(open_ones, key=_severity, reverse=True)]
        return f"Too little was measured to tell: {'; '.join(parts)}."
    confidence = _percent(1 - gating[0].alpha)
    return (
        f"It kept what it knew: {_changes(gating, titles)}. "
        f"Larger losses are ruled out with {confidence} confidence."
    )


def _forgotten(
    gating: Sequence[Comparison],
    benchmarks: Sequence[BenchmarkComparison],
    titles: Mapping[str, str],
) -> str:
    guilty = [one for one in gating if one.outcome == FORGOTTEN]
    guilty.sort(key=_severity, reverse=True)
    text = f"It forgot: {_changes(guilty, titles)}."
    worst = min(benchmarks, key=lambda one: one.difference, default=None)
    if worst is not None and worst.difference < 0 and worst not in guilty:
        text += f" The benchmark that lost most: {_benchmark(worst, titles)}."
    return text


def _severity(one: Comparison) -> float:
    """How large the loss is in units of what is allowed."""
    if isinstance(one, BenchmarkComparison):
        return -one.difference / one.margin
    return (one.ratio - 1) / (one.margin_ratio - 1)


def _changes(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> str:
    """All changes in one sentence; neighbours with the same allowance share its words."""
    parts = []
    for allowed, group in groupby(comparisons, key=_allowed):
        same = list(group)
        changes = [_benchmark(one, titles) for one in same if isinstance(one, BenchmarkComparison)]
        texts = [_rise(one, titles) for one in same if isinstance(one, PerplexityComparison)]
        if texts:
            changes.append(f"perplexity {_listed(texts)}")
        parts.append(f"{_listed(changes)}, where {allowed}")
    return "; ".join(parts)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _allowed(one: Comparison) -> str:
    if isinstance(one, BenchmarkComparison):
        return f"{_points(one.margin)} may be lost"
    return f"a rise of {_percent(one.margin_ratio - 1)} is allowed"


def _benchmark(one: BenchmarkComparison, titles: Mapping[str, str]) -> str:
    title = titles.get(one.name, one.name)
    before, after = _percent(one.score_before), _percent(one.score_after)
    moved = f"stayed at {after}" if before == after else f"went from {before} to {after}"
    return f"{title} {moved} of {one.n} items"


def _rise(one: PerplexityComparison, titles: Mapping[str, str]) -> str:
    """The change of one text's perplexity, to stand after the word perplexity."""
    title = titles.get(one.domain, one.domain)
    before, after = f"{one.perplexity_before:.3g}", f"{one.perplexity_after:.3g}"
    percent = abs(round(100 * (one.ratio - 1), 1))
    moved = "rose" if one.ratio > 1 else "fell"
    if before == after:
        change = f"{moved} by {percent:.1f} %" if percent else "0.0 %"
        return f"stayed at {after} on {title} ({change})"
    return f"{moved} by {percent:.1f} % on {title} ({before} to {after})"


def _open(one: Comparison, titles: Mapping[str, str]) -> str:
    if isinstance(one, BenchmarkComparison):
        worst = max(0.0, -one.interval_90.low)
        return (
            f"{_benchmark(one, titles)}, and the true loss may be as large as {_points(worst)} "
            f"where {_points(one.margin)} are allowed; {_needed(one.items_needed, 'items')}"
        )
    change = f"perplexity {_rise(one, titles)}"
    if one.interval_90 is None:
        return f"{change}, from a single document; at least two are needed"
    worst_percent = 100 * (one.interval_90.high - 1)
    return (
        f"{change}, and the true rise may be as large as {worst_percent:.1f} % where "
        f"{_percent(one.margin_ratio - 1)} is allowed; "
        f"{_needed(one.documents_needed, 'documents')}"
    )


def _needed(count: int | None, what: str) -> str:
    if count is None or count > MANY:
        return f"more than {MANY:,} {what} would be needed to settle it"
    return f"about {count:,} {what} would settle it"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " points"
