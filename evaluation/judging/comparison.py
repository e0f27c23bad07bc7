"""A paired difference judged alone, by a margin and an error rate.

`evaluation.judging.pairing` makes the differences from measurements, and
`evaluation.judging.verdict` judges several together under a rule.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from evaluation.judging import statistics
from evaluation.judging.paired import Paired, PairedItems, PairedTexts
from evaluation.judging.statistics import MeanEstimate

RETAINED, FORGOTTEN, INCONCLUSIVE = "retained", "forgotten", "inconclusive"
ROUNDING = 1e-12
"""A loss above the margin by less is a loss at the margin, computed with rounding."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkComparison(PairedItems):
    """One benchmark's difference, judged."""

    margin: float
    """The loss allowed, as a share of the items (0.1 is ten points)."""
    alpha: float
    loss_low: float
    """Lower limit of the loss at the level 1 - 2 alpha that the verdict uses; alpha is divided by
    the number of comparisons judged together."""
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
class PerplexityComparison(PairedTexts):
    """One held-out set's difference, judged."""

    margin_ratio: float
    """The ratio allowed (1.03 is three percent more)."""
    alpha: float
    p_non_inferior: float | None
    p_loss: float | None
    p_loss_holm: float | None
    judged_together: int = 1
    """Comparisons whose lower limits share alpha between them."""

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


def benchmark_judge(
    paired: PairedItems, *, margin: float, alpha: float = 0.05
) -> BenchmarkComparison:
    """Judge a benchmark's difference alone (no correction for its neighbours).

    Where items come in clusters, the more cautious of the score test (widened by the design effect)
    and the clustered t test decides, and the wider of the two intervals is shown.
    """
    lost, gained, n, clustered = paired.lost, paired.gained, paired.n, paired.clustered
    p_non_inferior = statistics.non_inferiority_p(lost, gained, n, margin, clustered)
    p_mcnemar = p_loss = statistics.mcnemar_exact(lost, gained)
    if clustered is not None:
        p_below_margin, p_below_zero = clustered.p_below(margin), clustered.p_below(0.0)
        p_non_inferior = max(p_non_inferior, 1.0 if p_below_margin is None else p_below_margin)
        p_loss = max(p_loss, 1.0 if p_below_zero is None else min(1.0, 2 * (1 - p_below_zero)))
    p_loss = p_loss if lost > gained else 1.0
    return BenchmarkComparison(
        **_fields(paired, PairedItems),
        margin=margin,
        alpha=alpha,
        loss_low=statistics.loss_interval(lost, gained, n, clustered, 1 - 2 * alpha).low,
        p_non_inferior=p_non_inferior,
        p_mcnemar=p_mcnemar,
        p_loss=p_loss,
        p_loss_holm=p_loss,
    )


def perplexity_judge(
    paired: PairedTexts, *, margin_ratio: float, alpha: float = 0.05
) -> PerplexityComparison:
    """Judge a held-out set's difference alone."""
    estimate = paired.log_ratio
    p_below_zero = estimate.p_below(0.0)
    p_loss = None if p_below_zero is None else 1.0
    if p_below_zero is not None and estimate.mean > 0:
        p_loss = min(1.0, 2 * (1 - p_below_zero))
    return PerplexityComparison(
        **_fields(paired, PairedTexts),
        margin_ratio=margin_ratio,
        alpha=alpha,
        p_non_inferior=estimate.p_below(math.log(margin_ratio)),
        p_loss=p_loss,
        p_loss_holm=p_loss,
    )


def _fields(paired: Paired, cls: type[Paired]) -> dict[str, Any]:
    return {one.name: getattr(paired, one.name) for one in fields(cls)}


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
