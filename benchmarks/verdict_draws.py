"""Draws pairs of models with a known true loss, and decides thousands of them at once.

The decisions are those of evaluation.judging.verdict, written for arrays: tests/evaluation/
test_error_rates.py holds both to the same answers. Arrays have one row a draw and one column a
benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evaluation.judging.sequential import BETS, log_growth
from evaluation.judging.skewness import narrowed_sizes, skewness_of_ratio

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
RETAINED, INCONCLUSIVE, FORGOTTEN = 0, 1, 2
NAMES = ("retained", "inconclusive", "forgotten")


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Means of losses with their standard errors and degrees of freedom."""

    mean: Floats
    error: Floats
    freedom: float
    group_size: float = 1.0
    skewness: Floats | None = None
    """As in evaluation.judging.statistics.MeanEstimate; None: no allowance for it."""

    def p_below(self, limit: float) -> Floats:
        """One-sided p of "the true mean is at or above limit"; 0 or 1 where nothing varied."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (self.mean - limit) / self.error
        if self.skewness is not None:
            t = np.copysign(narrowed_sizes(np.abs(t), self.skewness), t)
        p = special.stdtr(self.freedom, t)
        return np.where(self.error == 0, np.where(self.mean < limit, 0.0, 1.0), p)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Drawn counts of benchmarks with n items each; `clustered` where items share texts."""

    n: int
    lost: Counts
    gained: Counts
    clustered: Estimates | None = None

    def pooled(self) -> Outcomes:
        """All benchmarks' items as one, in one column."""
        m = self.lost.shape[1]
        clustered = None
        if self.clustered is not None:
            clustered = Estimates(
                mean=self.clustered.mean.mean(axis=1, keepdims=True),
                error=np.sqrt((self.clustered.error**2).sum(axis=1, keepdims=True)) / m,
                freedom=self.clustered.freedom * m,
                group_size=self.clustered.group_size,
            )
        lost, gained = (one.sum(axis=1, keepdims=True) for one in (self.lost, self.gained))
        return Outcomes(n=self.n * m, lost=lost, gained=gained, clustered=clustered)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one comparison needs for its outcome, before Holm's correction."""

    p_kept: Floats
    p_loss: Floats
    above: NDArray[np.bool_]
    """The loss seen is above the margin."""
    p_above: Floats
    """One-sided p of "the loss is at most the margin"."""

    def outcomes(self, p_loss: Floats, alpha: float, together: int = 1) -> Counts:
        """RETAINED, INCONCLUSIVE or FORGOTTEN with these corrected p of a loss."""
        guilty = ((p_loss < alpha) | (self.p_above < alpha / together)) & self.above
        codes = np.where(guilty, FORGOTTEN, INCONCLUSIVE)
        return np.where(self.p_kept < alpha, RETAINED, codes)


def shares_changed(loss: float, discordant: float) -> tuple[float, float]:
    """Shares of items lost and gained; as many change as the loss needs, or `discordant`."""
    discordant = max(discordant, abs(loss))
    return (discordant + loss) / 2, (discordant - loss) / 2


def draw_items(
    rng: np.random.Generator, draws: int, n: int, losses: list[float], discordant: float
) -> Outcomes:
    """Independent items; one benchmark for each true loss."""
    lost, gained = np.empty((2, draws, len(losses)), dtype=np.int64)
    for column, loss in enumerate(losses):
        b, c = shares_changed(loss, discordant)
        counts = rng.multinomial(n, [b, c, 1 - b - c], size=draws)
        lost[:, column], gained[:, column] = counts[:, 0], counts[:, 1]
    return Outcomes(n=n, lost=lost, gained=gained)


def draw_clusters(
    rng: np.random.Generator,
    draws: int,
    n: int,
    losses: list[float],
    discordant: float,
    size: int = 5,
    correlation: float = 0.3,
) -> Outcomes:
    """Items in clusters of `size`; two items of a cluster have the given correlation."""
    lost, gained = np.empty((2, draws, len(losses)), dtype=np.int64)
    mean, error = np.empty((2, draws, len(losses)))
    for column, loss in enumerate(losses):
        b, c, sizes = _cluster_counts(rng, draws, n, loss, discordant, size, correlation)
        sums, groups = (b - c).astype(np.float64), len(sizes)
        lost[:, column], gained[:, column] = b.sum(1), c.sum(1)
        mean[:, column] = sums.sum(1) / n
        squares = ((sums - mean[:, column, None] * sizes) ** 2).sum(1)
        error[:, column] = np.sqrt(squares * groups / (groups - 1)) / n
    group_size = float((sizes**2).sum() / n)
    clustered = Estimates(mean=mean, error=error, freedom=groups - 1, group_size=group_size)
    return Outcomes(n=n, lost=lost, gained=gained, clustered=clustered)


def draw_units(
    rng: np.random.Generator, draws: int, n: int, loss: float, discordant: float, size: int = 1
) -> tuple[Floats, Counts]:
    """Loss sums of single items, or of clusters of `size`, in the order they are taken; sizes."""
    if size == 1:
        b, c = shares_changed(loss, discordant)
        return rng.choice([1.0, -1.0, 0.0], p=[b, c, 1 - b - c], size=(draws, n)), np.ones(n, int)
    lost, gained, sizes = _cluster_counts(rng, draws, n, loss, discordant, size, 0.3)
    return (lost - gained).astype(np.float64), sizes


def _cluster_counts(
    rng: np.random.Generator,
    draws: int,
    n: int,
    loss: float,
    discordant: float,
    size: int,
    correlation: float,
) -> tuple[Counts, Counts, Counts]:
    """Items lost and gained in each cluster, and the clusters' sizes (the last may be smaller).

    Each item takes the outcome drawn for its cluster with probability sqrt(correlation), and else
    one of its own.
    """
    groups = -(-n // size)
    sizes = np.full(groups, size)
    sizes[-1] = n - size * (groups - 1)
    b, c = shares_changed(loss, discordant)
    shares = [b, c, 1 - b - c]
    copies = rng.binomial(sizes, np.sqrt(correlation), size=(draws, groups))
    common = rng.choice([0, 1, 2], p=shares, size=(draws, groups))
    own = rng.multinomial(sizes - copies, shares)
    lost = own[..., 0] + np.where(common == 0, copies, 0)
    gained = own[..., 1] + np.where(common == 1, copies, 0)
    return lost, gained, sizes


def judge(one: Outcomes, margin: float) -> Judged:
    """evaluation.judging.pairing.benchmark_from_counts for arrays."""
    z = tango_z(one.lost, one.gained, one.n, margin)
    p_kept, p_above = special.ndtr(z), special.ndtr(-z)
    few, changed = np.minimum(one.lost, one.gained), one.lost + one.gained
    p_loss = np.minimum(1.0, 2 * special.bdtr(few, np.maximum(changed, 1), 0.5))
    loss = (one.lost - one.gained) / one.n
    if one.clustered is not None:
        below_margin, below_zero = one.clustered.p_below(margin), one.clustered.p_below(0.0)
        together = (one.clustered.error * one.n) ** 2 + one.clustered.group_size
        effect = np.maximum(1.0, together / (changed - one.n * loss**2 + 1))
        p_score = special.stdtr(one.clustered.freedom, z / np.sqrt(effect))
        p_kept, p_above = np.maximum(p_score, below_margin), 1 - np.minimum(p_score, below_margin)
        p_loss = np.maximum(p_loss, np.minimum(1.0, 2 * (1 - below_zero)))
    p_loss = np.where(one.lost > one.gained, p_loss, 1.0)
    return Judged(p_kept=p_kept, p_loss=p_loss, above=loss > margin, p_above=p_above)


def verdicts(one: Outcomes, *, gate_on: str, margin: float, alpha: float) -> Counts:
    """evaluation.judging.verdict.verdict's outcome for each draw; no held-out texts."""
    each = judge(one, margin)
    by_benchmark = each.outcomes(holm(each.p_loss), alpha, one.lost.shape[1])
    if gate_on == "each":
        return by_benchmark.max(axis=1)
    together = judge(one.pooled(), margin)
    pooled = together.outcomes(together.p_loss, alpha)[:, 0]
    guilty = (by_benchmark == FORGOTTEN).any(axis=1)
    return np.where(guilty, FORGOTTEN, pooled)


def tango_z(lost: Counts, gained: Counts, n: int, loss: float) -> Floats:
    """evaluation.judging.statistics.tango_z for arrays and a loss above zero."""
    b = -lost - gained + (2 * n - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    q = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return (lost - gained - n * loss) / np.sqrt(n * (2 * q + loss * (1 - loss)))


def holm(p: Floats) -> Floats:
    """evaluation.judging.statistics.holm for each row."""
    order = np.argsort(p, axis=1, kind="stable")
    factors = np.arange(p.shape[1], 0, -1)
    stepped = np.minimum(1.0, np.take_along_axis(p, order, axis=1) * factors)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=1), axis=1)
    return adjusted


def draw_texts(
    rng: np.random.Generator, draws: int, documents: int, change: float, spread: float, shape: str
) -> Estimates:
    """Changes of likelihood in nats a token, estimated over documents of 128 to 512 tokens.

    A document's change is `change` plus `spread` (a standard deviation) times a standardised draw:
    normal, heavy (Student's t with 3 degrees of freedom), skewed (exponential: most documents
    change little, a few get much worse) or extreme (lognormal with sigma 0.8, skewness 3.7).
    """
    log_variance = 0.8**2
    size = (draws, documents)
    noise = {
        "normal": lambda: rng.standard_normal(size),
        "heavy": lambda: rng.standard_t(3, size) / np.sqrt(3),
        "skewed": lambda: rng.standard_exponential(size) - 1,
        "extreme": lambda: (
            (np.exp(rng.normal(0, np.sqrt(log_variance), size) - log_variance / 2) - 1)
            / np.sqrt(np.exp(log_variance) - 1)
        ),
    }[shape]()
    tokens = rng.integers(128, 513, size).astype(np.float64)
    return ratio_estimates((change + spread * noise) * tokens, tokens)


def ratio_estimates(nats: Floats, tokens: Floats) -> Estimates:
    """`statistics.log_perplexity_ratio` for each row of changes in nats a document."""
    documents, total = nats.shape[1], tokens.sum(axis=1)
    ratio = nats.sum(axis=1) / total
    squares = ((nats - ratio[:, None] * tokens) ** 2).sum(axis=1)
    error = np.sqrt(documents / (documents - 1) * squares) / total
    return Estimates(
        mean=ratio, error=error, freedom=documents - 1, skewness=skewness_of_ratio(tokens)
    )


def text_verdicts(one: Estimates, *, log_margin: float, alpha: float) -> Counts:
    """The verdict on one held-out text alone, for each draw."""
    p_kept, below_zero = one.p_below(log_margin), one.p_below(0.0)
    judged = Judged(
        p_kept=p_kept,
        p_loss=np.where(one.mean > 0, np.minimum(1.0, 2 * (1 - below_zero)), 1.0),
        above=one.mean > log_margin,
        p_above=1 - p_kept,
    )
    return judged.outcomes(judged.p_loss, alpha)


def adaptive(sums: Floats, sizes: Counts, *, margin: float, alpha: float) -> tuple[Counts, Counts]:
    """evaluation.judging.sequential.SequentialTest on every row: outcomes and items used.

    `sums` are the units' losses in the order they are taken, `sizes` their item counts.
    """
    growth = log_growth(sums, sizes, margin, int(sizes.max()))
    threshold = np.log(len(BETS) / alpha)
    harm, kept, excess = np.logaddexp.reduce(growth.cumsum(axis=2), axis=3) >= threshold
    used = np.cumsum(sizes)
    excess[:, -1] |= sums.sum(axis=1) > margin * used[-1]  # the last item: what was seen counts
    forgotten = np.logical_or.accumulate(harm, axis=1) & excess
    stop = kept | forgotten
    last = np.where(stop.any(axis=1), stop.argmax(axis=1), len(sizes) - 1)
    rows = np.arange(len(sums))
    codes = np.where(forgotten[rows, last], FORGOTTEN, INCONCLUSIVE)
    return np.where(kept[rows, last], RETAINED, codes), used[last]
