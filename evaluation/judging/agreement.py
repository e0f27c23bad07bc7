"""People as a measuring instrument: how many items, what bound, how well reviewers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from scipy import special

from evaluation.judging.statistics import mcnemar_exact


def acceptance_items(defect_rate: float, defects_allowed: int, confidence: float = 0.95) -> int:
    """The fewest random items that prove a defect rate of at most `defect_rate`.

    The smallest n for which seeing `defects_allowed` or fewer defects has a probability of at most
    1 - confidence when the true rate is `defect_rate`.
    """
    if not 0 < defect_rate < 1 or defects_allowed < 0 or not 0 < confidence < 1:
        raise ValueError("the rate and the confidence lie between 0 and 1, defects start at 0")
    n = defects_allowed + 1
    while special.bdtr(defects_allowed, n, defect_rate) > 1 - confidence:
        n += 1
    return n


def defect_rate_bound(defects: int, n: int, confidence: float = 0.95) -> float:
    """Upper bound of the defect rate after `defects` of `n` random items (Clopper-Pearson).

    The Beta quantile of `confidence` with parameters defects + 1 and n - defects.
    """
    if n < 1 or not 0 <= defects <= n:
        raise ValueError("a bound needs at least one item and no more defects than items")
    if defects == n:
        return 1.0
    return float(special.betaincinv(defects + 1, n - defects, confidence))


def acceptance_chance(defect_rate: float, n: int, defects_allowed: int) -> float:
    """The chance that `n` random items show at most `defects_allowed` defects.

    `defect_rate` is the true rate. Over all rates it is the plan's operating characteristic.
    """
    if not 0 <= defect_rate <= 1 or not 0 <= defects_allowed <= n or n < 1:
        raise ValueError("the rate lies between 0 and 1, and defects between 0 and the items")
    return float(special.bdtr(defects_allowed, n, defect_rate))


def krippendorff_alpha(items: Sequence[Sequence[Hashable | None]]) -> float | None:
    """Krippendorff's alpha for names (nominal data): 1 - observed / expected disagreement.

    `items` holds, for each item, the values its reviewers gave; None is a missing one. Items with
    fewer than two values say nothing about agreement and are left out. None where nothing can be
    compared or only one value was ever used: alpha is then undefined, not perfect.
    """
    coincidences: Counter[Hashable] = Counter()
    agreeing = 0.0
    for values in items:
        given = Counter(value for value in values if value is not None)
        reviewers = given.total()
        if reviewers < 2:
            continue
        coincidences.update(given)
        agreeing += sum(count * (count - 1) for count in given.values()) / (reviewers - 1)
    total = coincidences.total()
    expected_agreeing = sum(count * (count - 1) for count in coincidences.values())
    if total < 2 or expected_agreeing == total * (total - 1):
        return None
    observed = 1 - agreeing / total
    expected = 1 - expected_agreeing / (total * (total - 1))
    return 1 - observed / expected


def raw_agreement(items: Sequence[Sequence[Hashable | None]]) -> float | None:
    """The share of agreeing reviewer pairs over all items; None where no item has two values."""
    agreeing = pairs = 0
    for values in items:
        given = Counter(value for value in values if value is not None)
        reviewers = given.total()
        agreeing += sum(count * (count - 1) for count in given.values())
        pairs += reviewers * (reviewers - 1)
    return agreeing / pairs if pairs else None


def sign_test(wins: int, losses: int) -> float:
    """Two-sided sign test of a preference, ties left out; 1.0 where nobody was decisive."""
    return _even_split_p(wins, losses)


def side_bias_p(left_wins: int, right_wins: int) -> float:
    """Two-sided binomial test that one reviewer picks left and right alike.

    Sides are drawn at random, so a small p means that the side itself drew the votes. Only
    decisive votes count: neither ties nor "both bad".
    """
    return _even_split_p(left_wins, right_wins)


def _even_split_p(first: int, second: int) -> float:
    if first < 0 or second < 0:
        raise ValueError("votes cannot be fewer than none")
    return mcnemar_exact(first, second)  # the same exact binomial test of an even split
