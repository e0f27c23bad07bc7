"""What a comparison of one benchmark, or one held-out text, before and after consists of.

`evaluation.judging.pairing` makes these from measurements, and `evaluation.judging.verdict` judges
them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from evaluation.judging import statistics
from evaluation.judging.statistics import Interval, MeanEstimate

RETAINED, FORGOTTEN, INCONCLUSIVE = "retained", "forgotten", "inconclusive"
ROUNDING = 1e-12
"""A loss above the margin by less is a loss at the margin, computed with rounding."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One benchmark item's outcome: a line of samples.jsonl, or the portal's row of it."""

    doc_hash: str
    prompt_hash: str
    target_hash: str
    correct: bool
    margin_nats: float | None = None
    """Log-likelihood of the right choice minus that of the best wrong one, where there is one."""
    cluster: str | None = None
    """What items of one source share (a text, a subtopic); None where items stand alone."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read one line of samples.jsonl; other fields are ignored."""
        return cls(
            doc_hash=record["doc_hash"],
            prompt_hash=record["prompt_hash"],
            target_hash=record["target_hash"],
            correct=bool(record["correct"]),
            margin_nats=record.get("margin_nats"),
            cluster=record.get("cluster"),
        )


@dataclass(frozen=True, kw_only=True)
class Document:
    """One held-out document's likelihood: a line of documents.jsonl."""

    doc_hash: str
    nll_nats: float
    tokens: int

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read one line of documents.jsonl; other fields are ignored."""
        return cls(
            doc_hash=record["doc_hash"],
            nll_nats=float(record["nll_nats"]),
            tokens=int(record["tokens"]),
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkComparison:
    """One benchmark before and after. Differences are after minus before: negative is a loss."""

    name: str
    n: int
    lost: int
    """Items right before and wrong after (b)."""
    gained: int
    """Items wrong before and right after (c)."""
    correct_before: int
    margin: float
    """The loss allowed, as a share of the items (0.1 is ten points)."""
    alpha: float
    interval_90: Interval
    """Of the difference."""
    interval_95: Interval
    loss_low: float
    """Lower limit of the loss at the level 1 - 2 alpha that the verdict uses; alpha is divided by
    the number of comparisons judged together."""
    clustered: MeanEstimate | None
    """Mean LOSS with its error over clusters; None where items stand alone."""
    nats: MeanEstimate | None
    """Mean change of the items' log-likelihood margin, nats; None where a margin is missing."""
    p_non_inferior: float
    """One-sided p of "the loss is at least the margin"; below alpha the benchmark is retained."""
    p_mcnemar: float
    """Two-sided exact p of "nothing changed in either direction"."""
    p_loss: float
    """p_mcnemar where more was lost than gained, else 1: evidence of a loss."""
    p_loss_holm: float
    """p_loss after Holm's correction over the comparisons judged together."""
    items_in_all: int | None = None
    """All items that there are, where adaptive mode decided after how many to stop: p and intervals
    are then those of `evaluation.judging.sequential`. None where all were measured as agreed."""

    @property
    def is_stopped_early(self) -> bool:
        """Whether adaptive mode left items out."""
        return self.items_in_all is not None and self.n < self.items_in_all

    @property
    def score_before(self) -> float:
        """Share of items right before."""
        return self.correct_before / self.n

    @property
    def score_after(self) -> float:
        """Share of items right after."""
        return (self.correct_before - self.lost + self.gained) / self.n

    @property
    def difference(self) -> float:
        """After minus before, as a share of the items."""
        return (self.gained - self.lost) / self.n

    @property
    def outcome(self) -> str:
        """retained, forgotten or inconclusive."""
        return _outcome(
            loss=-self.difference,
            margin=self.margin,
            alpha=self.alpha,
            p_non_inferior=self.p_non_inferior,
            # A real loss that only looked too large at some moment proves nothing: see sequential.
            p_loss=1.0 if self.is_stopped_early else self.p_loss_holm,
            loss_low=self.loss_low,
        )

    @property
    def items_needed(self) -> int | None:
        """About how many items would settle it; None where it is settled."""
        if self.outcome != INCONCLUSIVE:
            return None
        gap = _gap(-self.difference, self.margin)
        spread = statistics.items_needed((self.lost + self.gained) / self.n, gap, alpha=self.alpha)
        fewest = statistics.items_needed_without_change(self.margin, self.alpha)
        return max(math.ceil(self.design_effect * max(spread, fewest)), self.n + 1)

    @property
    def design_effect(self) -> float:
        """How many times as many items are needed because they come in clusters."""
        if self.clustered is None or self.clustered.standard_error is None:
            return 1.0
        return statistics.design_effect(self.lost, self.gained, self.n, self.clustered)

    def to_json(self) -> dict[str, Any]:
        """Every field and every derived one, as plain JSON values."""
        derived = ("score_before", "score_after", "difference", "outcome", "items_needed")
        return {
            **asdict(self),
            "nats": _estimate_json(self.nats),
            "clustered": _estimate_json(self.clustered),
            **{name: getattr(self, name) for name in derived},
        }


@dataclass(frozen=True, kw_only=True)
class PerplexityComparison:
    """Perplexity of one held-out set before and after. Ratios: after over before, above 1 worse."""

    domain: str
    documents: int
    tokens: int
    perplexity_before: float
    perplexity_after: float
    margin_ratio: float
    """The ratio allowed (1.03 is three percent more)."""
    alpha: float
    log_ratio: MeanEstimate
    """Change of the mean likelihood in nats a token; its exponential is the ratio."""
    interval_90: Interval | None
    """Of the ratio; None for a single document, whose spread nothing shows."""
    interval_95: Interval | None
    p_non_inferior: float | None
    p_loss: float | None
    p_loss_holm: float | None
    judged_together: int = 1
    """Comparisons whose lower limits share alpha between them."""

    def under(self, *, margin_ratio: float, alpha: float) -> Self:
        """The same measurements judged alone by another margin and error rate."""
        p = self.log_ratio.p_below(math.log(margin_ratio))
        return replace(
            self,
            margin_ratio=margin_ratio,
            alpha=alpha,
            p_non_inferior=p,
            p_loss_holm=self.p_loss,
        )

    @property
    def ratio(self) -> float:
        """Perplexity after over perplexity before."""
        return math.exp(self.log_ratio.mean)

    @property
    def outcome(self) -> str:
        """retained, forgotten or inconclusive."""
        interval = self.log_ratio.interval(1 - 2 * self.alpha / self.judged_together)
        if interval is None or self.p_non_inferior is None or self.p_loss_holm is None:
            return INCONCLUSIVE
        return _outcome(
            loss=self.log_ratio.mean,
            margin=math.log(self.margin_ratio),
            alpha=self.alpha,
            p_non_inferior=self.p_non_inferior,
            p_loss=self.p_loss_holm,
            loss_low=interval.low,
        )

    @property
    def documents_needed(self) -> int | None:
        """About how many documents would settle it; None where it is settled."""
        if self.outcome != INCONCLUSIVE:
            return None
        if self.log_ratio.standard_error is None:
            return 2
        gap = _gap(self.log_ratio.mean, math.log(self.margin_ratio))
        needed = statistics.documents_needed(self.log_ratio, self.documents, gap, alpha=self.alpha)
        return max(needed, self.documents + 1)

    def to_json(self) -> dict[str, Any]:
        """Every field and every derived one, as plain JSON values."""
        derived = ("ratio", "outcome", "documents_needed")
        return {
            **asdict(self),
            "log_ratio": _estimate_json(self.log_ratio),
            **{name: getattr(self, name) for name in derived},
        }


def _outcome(
    *,
    loss: float,
    margin: float,
    alpha: float,
    p_non_inferior: float,
    p_loss: float,
    loss_low: float,
) -> str:
    """One comparison's outcome; loss, margin and limit share a unit."""
    if p_non_inferior < alpha:
        return RETAINED
    above = margin + ROUNDING
    if (p_loss < alpha and loss > above) or loss_low > above:
        return FORGOTTEN
    return INCONCLUSIVE


def _gap(loss: float, margin: float) -> float:
    """How far the loss seen lies from what would have to be shown: below the margin, or above 0."""
    return loss if loss >= margin else margin - max(loss, 0.0)


def _estimate_json(estimate: MeanEstimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    interval = estimate.interval(0.95)
    return {**asdict(estimate), "interval_95": asdict(interval) if interval else None}
