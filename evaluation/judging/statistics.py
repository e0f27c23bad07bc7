"""Formulas for paired comparisons of one model before and after a training session.

Items are yes/no outcomes measured twice. ``lost`` counts items right before and wrong after,
``gained`` the reverse, ``n`` all items. The *loss* is ``(lost - gained) / n``: positive means the
model got worse. Nothing here knows about files, benchmarks or pages.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # not scipy.stats: it takes a second to load, in every web process

from evaluation.judging.skewness import narrowed, skewness_of_ratio, widened


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; the unit is that of the estimate it belongs to."""

    low: float
    high: float

    def flipped(self) -> Interval:
        """The interval of the negated estimate (a loss turned into a difference)."""
        return Interval(low=-self.high, high=-self.low)


@dataclass(frozen=True, kw_only=True)
class MeanEstimate:
    """A mean of paired differences with its standard error and degrees of freedom."""

    mean: float
    standard_error: float | None
    degrees_of_freedom: int
    group_size: float = 1.0
    """Items in the cluster of an item, on average; 1 where items stand alone."""
    skewness: float = 0.0
    """Skewness of the mean that intervals and p allow for (see `skewness`); 0: none."""

    def interval(self, level: float) -> Interval | None:
        """Student's t interval, widened for skewness; None where one observation leaves no spread
        to estimate."""
        if self.standard_error is None or self.degrees_of_freedom < 1:
            return None
        quantile = float(special.stdtrit(self.degrees_of_freedom, 0.5 + level / 2))
        half_width = self.standard_error * widened(quantile, self.skewness)
        return Interval(low=self.mean - half_width, high=self.mean + half_width)

    def p_below(self, limit: float) -> float | None:
        """One-sided p of the hypothesis that the true mean is at or above `limit`.

        Small values are evidence that the mean lies below. None where there is no spread to
        estimate; a standard error of exactly zero gives 0 or 1.
        """
        if self.standard_error is None or self.degrees_of_freedom < 1:
            return None
        if self.standard_error == 0:
            return 0.0 if self.mean < limit else 1.0
        t = narrowed((self.mean - limit) / self.standard_error, self.skewness)
        return float(special.stdtr(self.degrees_of_freedom, t))


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact McNemar p: min(1, 2 BinomCDF(min(b, c); b + c, 1/2))."""
    discordant = lost + gained
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(lost, gained), discordant, 0.5)))


def tango_z(lost: int, gained: int, n: int, loss: float) -> float:
    """Tango's score statistic for a true loss of `loss` (Tango 1998, Statistics in Medicine 17).

    Positive when the observed loss is above `loss`. The variance is estimated under the
    hypothesis, so it stays usable where nothing changed and on few items.
    """
    _check_counts(lost, gained, n)
    b = -lost - gained + (2 * n - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    q = (root - b) / (4 * n)
    variance = n * (2 * q + loss * (1 - loss))
    numerator = lost - gained - n * loss
    if variance <= 0:
        return 0.0 if abs(numerator) < 1e-12 else math.copysign(math.inf, numerator)
    return numerator / math.sqrt(variance)


def tango_interval(
    lost: int, gained: int, n: int, level: float = 0.95, clustered: MeanEstimate | None = None
) -> Interval:
    """Tango's score interval for the loss: all losses whose |Z| stays under the quantile.

    With `clustered` the quantile is Student's, times the root of the design effect.
    """
    from scipy import optimize  # here, for it takes half a second to load

    _check_counts(lost, gained, n)
    quantile = float(special.ndtri(0.5 + level / 2))
    if clustered is not None:
        if clustered.degrees_of_freedom < 1:
            return Interval(low=-1.0, high=1.0)  # the spread of a single cluster is unknown
        quantile = float(special.stdtrit(clustered.degrees_of_freedom, 0.5 + level / 2))
        quantile *= math.sqrt(design_effect(lost, gained, n, clustered))
    point = (lost - gained) / n

    def limit(toward: float, target: float) -> float:
        def gap(loss: float) -> float:
            return max(min(tango_z(lost, gained, n, loss), 1e6), -1e6) - target

        # Past the end of the scale the statistic never reaches the quantile: the end is the limit.
        if gap(toward) * gap(point) >= 0:
            return toward
        return float(optimize.brentq(gap, *sorted((point, toward)), xtol=1e-14, rtol=1e-12))

    return Interval(low=limit(-1.0, quantile), high=limit(1.0, -quantile))


def non_inferiority_p(
    lost: int, gained: int, n: int, margin: float, clustered: MeanEstimate | None = None
) -> float:
    """One-sided p of "the loss is at least `margin`": the normal CDF of Tango's Z at it.

    Below alpha exactly when the upper limit of the (1 - 2 alpha) interval is below the margin.
    With `clustered` it is Student's CDF of Z over the root of the design effect; 1 for one cluster.
    """
    z = tango_z(lost, gained, n, margin)
    if clustered is None:
        return float(special.ndtr(z))
    if clustered.degrees_of_freedom < 1:
        return 1.0
    z /= math.sqrt(design_effect(lost, gained, n, clustered))
    return float(special.stdtr(clustered.degrees_of_freedom, z))


def design_effect(lost: int, gained: int, n: int, clustered: MeanEstimate) -> float:
    """How many times larger the variance of the loss is because items come in clusters; at least 1.

    The clustered variance over that of independent items, both of the sum of the losses, after one
    more changed item was counted as if its whole cluster of s items had changed with it:
    (V_clustered + s) / (b + c - (b - c)^2 / n + 1). Without it a handful of changed items, one to
    a cluster, would be taken for proof that clusters do not matter, and a loss at the margin would
    pass three times too often (docs/results/verdicts.md).
    """
    if clustered.standard_error is None:
        raise ValueError("the spread of a single cluster is unknown")
    together = (clustered.standard_error * n) ** 2 + clustered.group_size
    alone = lost + gained - (lost - gained) ** 2 / n + 1
    return max(1.0, together / alone)


def paired_mean(differences: Sequence[float]) -> MeanEstimate:
    """Mean of paired differences with sqrt(sum((d - mean)^2) / (n (n - 1)))."""
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0:
        raise ValueError("a mean of no differences does not exist")
    if d.size == 1:
        return MeanEstimate(mean=float(d[0]), standard_error=None, degrees_of_freedom=0)
    residual_squares = float(np.sum((d - d.mean()) ** 2))
    return MeanEstimate(
        mean=float(d.mean()),
        standard_error=math.sqrt(residual_squares / (d.size * (d.size - 1))),
        degrees_of_freedom=d.size - 1,
    )


def clustered_mean(
    differences: Sequence[float], clusters: Sequence[Hashable], *, small_sample: bool = True
) -> MeanEstimate:
    """Mean of differences whose items come in groups (several questions on one text).

    The standard error is sqrt(sum_g (sum_{i in g} (d_i - mean))^2) / n, times sqrt(G / (G - 1))
    with `small_sample`; degrees of freedom G - 1. None as the error for a single group.
    Source: Miller 2024, Adding Error Bars to Evals (arXiv 2411.00640), clustered standard errors;
    the factor is that of statsmodels' cov_type="cluster".
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0 or d.size != len(clusters):
        raise ValueError("every difference needs its cluster, and at least one must exist")
    sums: dict[Hashable, float] = {}
    for residual, cluster in zip(d - d.mean(), clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(residual)
    groups = len(sums)
    size = sum(count**2 for count in Counter(clusters).values()) / d.size
    if groups < 2:
        return MeanEstimate(
            mean=float(d.mean()), standard_error=None, degrees_of_freedom=0, group_size=size
        )
    error = math.sqrt(sum(s * s for s in sums.values())) / d.size
    if small_sample:
        error *= math.sqrt(groups / (groups - 1))
    return MeanEstimate(
        mean=float(d.mean()),
        standard_error=error,
        degrees_of_freedom=groups - 1,
        group_size=size,
    )


def log_perplexity_ratio(
    nll_before_nats: Sequence[float], nll_after_nats: Sequence[float], tokens: Sequence[int]
) -> MeanEstimate:
    """R = sum(NLL_after - NLL_before) / sum(T) over J documents, in nats a token.

    exp(R) is the ratio of the perplexities. The standard error is that of a ratio estimate:
    sqrt(J / (J - 1) sum_j (d_j - R T_j)^2) / sum(T), with J - 1 degrees of freedom. The estimate
    allows for documents that change as unevenly as exponential draws.
    """
    d = np.asarray(nll_after_nats, dtype=np.float64) - np.asarray(nll_before_nats, dtype=np.float64)
    t = np.asarray(tokens, dtype=np.float64)
    if d.size == 0 or d.size != t.size or t.sum() <= 0:
        raise ValueError("every document needs both likelihoods and a token count above zero")
    ratio = float(d.sum() / t.sum())
    if d.size == 1:
        return MeanEstimate(mean=ratio, standard_error=None, degrees_of_freedom=0)
    squares = float(np.sum((d - ratio * t) ** 2))
    error = math.sqrt(d.size / (d.size - 1) * squares) / float(t.sum())
    return MeanEstimate(
        mean=ratio,
        standard_error=error,
        degrees_of_freedom=d.size - 1,
        skewness=float(skewness_of_ratio(t)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: max_{j<=i} min(1, (m - j + 1) p_(j)).

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def items_needed(
    discordant_share: float, margin: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Items that show a loss below `margin` with probability `power` when there is none.

    (z_alpha + z_power)^2 psi / M^2, psi the share of items whose outcome changes. With the
    defaults the quantiles are 1.645 and 0.842 (one-sided 5 %, 80 % power).
    Source: Lachin 1992, Statistics in Medicine 11, 1239-1251: paired proportions by the normal
    approximation, here for a one-sided margin and equal losses and gains.
    """
    if not margin > 0:
        raise ValueError("a margin of zero would need infinitely many items")
    quantiles = float(special.ndtri(1 - alpha) + special.ndtri(power))
    return math.ceil(quantiles**2 * discordant_share / margin**2)


def documents_needed(
    estimate: MeanEstimate, documents: int, gap: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Documents, as uneven as the `documents` measured, that show a difference of `gap`.

    As `items_needed`, but with the quantile that `MeanEstimate.p_below` uses for so many. Raises
    ValueError where there is no spread to estimate.
    """
    if estimate.standard_error is None or not gap > 0:
        raise ValueError("one document shows no spread, and no gap needs infinitely many")
    variance, reach = documents * estimate.standard_error**2, float(special.ndtri(power))

    def are_enough(count: int) -> bool:
        skewness = estimate.skewness * math.sqrt(documents / count)
        quantile = widened(float(special.stdtrit(count - 1, 1 - alpha)), skewness)
        return (quantile + reach) ** 2 * variance <= gap**2 * count

    most = 2
    while not are_enough(most):
        most *= 2
    return bisect.bisect_left(range(most), True, lo=2, key=are_enough)


def items_needed_without_change(margin: float, alpha: float) -> int:
    """The fewest items that show a loss below `margin` when not one outcome changes.

    With b = c = 0 Tango's Z is -sqrt(n M / (1 - M)), so n must exceed z^2 (1 - M) / M.
    """
    quantile = float(special.ndtri(1 - alpha))
    return math.floor(quantile**2 * (1 - margin) / margin) + 1


def wilson_interval(correct: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of one share: the interval shown beside a single score.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError("a share needs at least one item and no more hits than items")
    z = float(special.ndtri(0.5 + level / 2))
    share = correct / n
    centre = share + z * z / (2 * n)
    half_width = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    whole = 1 + z * z / n
    # Rounding must not carry an end past the scale.
    return Interval(
        low=max(0.0, (centre - half_width) / whole), high=min(1.0, (centre + half_width) / whole)
    )


def _check_counts(lost: int, gained: int, n: int) -> None:
    if n < 1 or lost < 0 or gained < 0 or lost + gained > n:
        raise ValueError(f"impossible counts: {lost} lost and {gained} gained of {n} items")


def loss_interval(
    lost: int, gained: int, n: int, clustered: MeanEstimate | None, level: float
) -> Interval:
    """Interval of the loss: the score interval, or the clustered t interval where that is wider."""
    score = tango_interval(lost, gained, n, level, clustered)
    wide = clustered.interval(level) if clustered else None
    if wide is None:
        return score
    return Interval(
        low=max(-1.0, min(score.low, wide.low)), high=min(1.0, max(score.high, wide.high))
    )
