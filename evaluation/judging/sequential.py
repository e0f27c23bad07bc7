"""Adaptive mode: judge item by item in random order and stop as soon as the answer is certain.

Three bets run side by side. `l` is +1 where an item was lost, -1 where it was gained, 0 where
nothing changed, M the margin; the product is over the items seen so far:

- harm, against "nothing is lost on average":             prod (1 + bet * l)
- non-inferiority, against "M or more is lost on average": prod (1 + bet * (M - l))
- excess, against "M or less is lost on average":          prod (1 + bet * (l - M))

Where its hypothesis is true such a product is not expected to grow, whatever happened before, so it
reaches 1/alpha at any time with a probability of at most alpha (Ville's inequality: J. Ville, Étude
critique de la notion de collectif, 1939). One may therefore look after every item and stop.
The bets follow I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by
betting, Journal of the Royal Statistical Society B 86, 2024.

When it stops. Non-inferiority shown is the verdict retained. Forgotten means, as in the fixed
verdict, a loss that is real and above the margin: it stops early where harm and excess are both
shown, and at the end of the items harm is enough where the loss seen is above the margin. Stopping
at harm as soon as the loss seen so far is above the margin would be quicker, and would call one
session in six forgotten that lost half of what it may (docs/results/verdicts.md).

How much to bet. The best bet depends on the true loss and on how many items change, which nobody
knows beforehand; so the starting stake is split evenly over the four fixed bets of BETS. An average
of such products is one itself, and is behind the best of its parts by at most a factor of four.
A factor may not be negative: a harm bet must lie in [0, 1], a non-inferiority bet in
[0, 1 / (1 - M)], an excess bet in [0, 1 / (1 + M)]. BETS are shares of these ranges; none is the
whole, for a single item would then end the bet.

What it is about. As with the fixed verdict: the loss over the source that the items were drawn
from. Items that share a text are not independent, so a whole cluster is bet on at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.judging.statistics import Interval

UNDECIDED = "undecided"
HARM_SHOWN = "harm shown"
NON_INFERIORITY_SHOWN = "non-inferiority shown"

BETS = (0.05, 0.15, 0.4, 0.9)
"""Shares of the admissible range, about a factor of 2.6 apart: some bet is never far from the best
one, and a bet half or one and a half times the best still grows three quarters as fast."""

LIMIT_PRECISION = 1e-9

LARGEST_LOG = 700.0
"""Evidence is shown up to exp(700); beyond lies infinity, which JSON does not know."""


class SequentialTest:
    """Takes outcomes one after another and says after each whether the answer is certain.

    `largest_unit` is the number of items of the largest cluster (1 where items stand alone). It has
    to be known beforehand: it is the scale of the bets on a cluster. Where `together` comparisons
    are judged, and one that shows a loss is enough, harm has to be so many times as evident.
    """

    def __init__(
        self, *, margin: float, alpha: float = 0.05, largest_unit: int = 1, together: int = 1
    ) -> None:
        """Raise ValueError where margin or alpha is not inside (0, 1), or the unit is empty."""
        if not 0 < margin < 1 or not 0 < alpha < 1 or largest_unit < 1:
            raise ValueError("margin and alpha lie between 0 and 1, a unit has at least one item")
        self._margin, self._threshold = margin, 1 / alpha
        self._harm_threshold = together / alpha
        self._largest = largest_unit
        self._logs = np.zeros((3, len(BETS)))
        self._harm_was_shown = False
        self.items_used = 0
        self.loss_sum = 0
        self.outcome = UNDECIDED

    def add(self, losses: Sequence[int]) -> str:
        """Bet on one unit's items (+1 lost, -1 gained, 0 same) and return the outcome so far."""
        if not 0 < len(losses) <= self._largest or any(one not in (-1, 0, 1) for one in losses):
            raise ValueError("a unit has one to `largest_unit` outcomes of -1, 0 or 1")
        if self.outcome != UNDECIDED:
            raise ValueError("the answer is already certain")
        total = np.array([sum(losses)], dtype=np.float64)
        size = np.array([len(losses)], dtype=np.float64)
        self._logs += log_growth(total, size, self._margin, self._largest)[:, 0]
        self.items_used += len(losses)
        self.loss_sum += sum(losses)
        self._harm_was_shown |= self.e_harm >= self._harm_threshold
        if self.e_non_inferior >= self._threshold:
            self.outcome = NON_INFERIORITY_SHOWN
        elif self._harm_was_shown and self.e_excess >= self._harm_threshold:
            self.outcome = HARM_SHOWN
        return self.outcome

    def finish(self) -> str:
        """Say that no items are left, and return the final outcome."""
        if self.outcome == UNDECIDED and self._harm_was_shown and self.loss > self._margin:
            self.outcome = HARM_SHOWN
        return self.outcome

    @property
    def loss(self) -> float:
        """Mean loss of the items seen; 0 before the first."""
        return self.loss_sum / self.items_used if self.items_used else 0.0

    @property
    def e_harm(self) -> float:
        """Evidence against "nothing is lost"."""
        return math.exp(_log_mean_exp(self._logs[0]))

    @property
    def e_non_inferior(self) -> float:
        """Evidence against "the margin or more is lost"."""
        return math.exp(_log_mean_exp(self._logs[1]))

    @property
    def e_excess(self) -> float:
        """Evidence against "the margin or less is lost"."""
        return math.exp(_log_mean_exp(self._logs[2]))


def log_growth(
    losses: NDArray[np.float64], sizes: NDArray, margin: float, largest_unit: int
) -> NDArray[np.float64]:
    """Logarithms of the factors of units with these loss sums and item counts.

    Shape (3, *losses.shape, len(BETS)): harm, non-inferiority, excess. A unit's sums are divided by
    `largest_unit`, so that they stay within the range of one item and large clusters still weigh
    more than small ones.
    """
    bets = np.array(BETS)
    harm = losses[..., None] / largest_unit
    excess = (losses - margin * sizes)[..., None] / largest_unit
    return np.stack(
        (
            np.log1p(bets * harm),
            np.log1p(-bets / (1 - margin) * excess),
            np.log1p(bets / (1 + margin) * excess),
        )
    )


def harm_and_kept(
    losses: NDArray[np.float64], sizes: NDArray, margin: float, largest_unit: int
) -> tuple[float, float]:
    """The most evidence for harm that there ever was over these units, and that for non-inferiority
    after the last: one over each is a p that holds whenever one stops."""
    growth = log_growth(losses, sizes, margin, largest_unit)
    harm = max(_log_mean_exp(logs) for logs in growth[0].cumsum(axis=0))
    return math.exp(harm), math.exp(_log_mean_exp(growth[1].sum(axis=0)))


def loss_limits(
    losses: NDArray[np.float64], sizes: NDArray, largest_unit: int, alpha: float
) -> Interval:
    """All mean losses against which the bets on these units have not reached 1 / alpha.

    Each limit is wrong with a probability of at most alpha whenever one stops: the ends of the
    confidence sequence that belongs to the bets on non-inferiority and on excess.
    """

    def is_ruled_out(row: int, loss: float) -> bool:
        logs = log_growth(losses, sizes, loss, largest_unit)[row].sum(axis=0)
        return _log_mean_exp(logs) >= math.log(1 / alpha)

    def limit(row: int, end: float) -> float:
        inside, outside = -end, end
        if not is_ruled_out(row, outside):
            return math.copysign(1.0, end)
        while abs(outside - inside) > LIMIT_PRECISION:
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_ruled_out(row, middle) else (middle, outside)
        return outside

    almost = 1 - LIMIT_PRECISION
    return Interval(low=limit(2, -almost), high=limit(1, almost))


def sequential_order(hashes: Sequence[str], seed: str = "") -> list[int]:
    """Positions of the items in random order: sorted by the SHA-256 of seed and item hash.

    The order depends on nothing but the hashes and the seed: not on the order of a file, and not
    on what a model answers. The same items come in the same order for every checkpoint.
    """
    keys = [hashlib.sha256(f"{seed}\n{one}".encode()).digest() for one in hashes]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _log_mean_exp(logs: NDArray[np.float64]) -> float:
    top = float(logs.max())
    return min(top + math.log(float(np.exp(logs - top).mean())), LARGEST_LOG)
