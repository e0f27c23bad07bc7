"""What changed between two measurements, as pages show it: a paired difference or its absence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from evaluation.judging.paired import Document, Item, PairedItems, PairedTexts
from evaluation.judging.pairing import (
    ComparisonError,
    benchmark_pooled,
    paired_benchmark,
    paired_perplexity,
)
from evaluation.judging.statistics import MeanEstimate
from evaluation.judging.verdict import POOLED_NAME


@dataclass(frozen=True, kw_only=True)
class Change:
    """After minus before with its 95 % interval, or why there is none.

    Accuracy: shares of the items. Perplexity: relative change (0.02 is two percent more). Losses
    are in nats a token, bits a byte in bits. `low` and `high` are None where one observation leaves
    no spread to estimate.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    lost: int | None = None
    gained: int | None = None
    why_missing: str = ""

    @property
    def hundredths(self) -> dict[str, float | None]:
        """value, low and high in points of 100 answers, or in percent of perplexity."""
        shares = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if share is None else 100 * share for name, share in shares.items()}

    @property
    def loss_word(self) -> str:
        """What the interval of a loss shows: worse, better or no clear change; empty without."""
        if self.low is None or self.high is None:
            return ""
        if self.low > 0:
            return "worse"
        return "better" if self.high < 0 else "no clear change"

    def tone(self, *, higher_is_better: bool, allowed: float | None) -> str:
        """Empty unless the whole interval lies on one side of zero; then good, warn or bad.

        warn is worse by no more than `allowed`, in the unit of `value`; None allows nothing.
        """
        if self.value is None or self.low is None or self.high is None:
            return ""
        if self.low <= 0 <= self.high:
            return ""
        if (self.low > 0) == higher_is_better:
            return "good"
        return "warn" if allowed is not None and abs(self.value) <= allowed else "bad"

    @classmethod
    def of_items(cls, pair: PairedItems) -> Self:
        """Of right answers, as a share."""
        return cls(
            value=pair.difference,
            low=pair.interval_95.low,
            high=pair.interval_95.high,
            lost=pair.lost,
            gained=pair.gained,
        )

    @classmethod
    def of_perplexity(cls, pair: PairedTexts) -> Self:
        """Of perplexity a token, as a share of what it was."""
        bounds = pair.interval_95
        return cls(
            value=pair.ratio - 1,
            low=bounds.low - 1 if bounds else None,
            high=bounds.high - 1 if bounds else None,
        )

    @classmethod
    def of_mean(cls, estimate: MeanEstimate, scale: float = 1.0) -> Self:
        """Of a mean, times `scale`."""
        bounds = estimate.interval(0.95)
        return cls(
            value=scale * estimate.mean,
            low=scale * bounds.low if bounds else None,
            high=scale * bounds.high if bounds else None,
        )


def items_change(name: str, before: Sequence[Item], after: Sequence[Item]) -> Change:
    """The change of right answers on one benchmark, items paired by their hashes."""
    try:
        return Change.of_items(paired_benchmark(name=name, before=before, after=after))
    except ComparisonError as problem:
        return Change(why_missing=str(problem))


def pooled_change(
    before: Mapping[str, Sequence[Item]], after: Mapping[str, Sequence[Item]]
) -> Change:
    """The change of right answers over all benchmarks that either side has."""
    names = dict.fromkeys([*before, *after])
    try:
        pairs = [
            paired_benchmark(name=name, before=before.get(name, []), after=after.get(name, []))
            for name in names
        ]
    except ComparisonError as problem:
        return Change(why_missing=str(problem))
    if not pairs:
        return Change(why_missing="No benchmark was measured.")
    return Change.of_items(benchmark_pooled(name=POOLED_NAME, benchmarks=pairs))


def perplexity_change(name: str, before: Sequence[Document], after: Sequence[Document]) -> Change:
    """The relative change of perplexity a token on one held-out set, documents paired by hash."""
    try:
        return Change.of_perplexity(paired_perplexity(domain=name, before=before, after=after))
    except ComparisonError as problem:
        return Change(why_missing=str(problem))


def loss_change(name: str, before: Sequence[Document], after: Sequence[Document]) -> Change:
    """The change of the mean loss in nats a token, documents paired by hash."""
    try:
        pair = paired_perplexity(domain=name, before=before, after=after)
    except ComparisonError as problem:
        return Change(why_missing=str(problem))
    return Change.of_mean(pair.log_ratio)
