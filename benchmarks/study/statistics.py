"""Rank correlation over runs, with bootstrap intervals over runs and over whole cells."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
DRAWS = 2000
SEED = 2025


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks, ties sharing their mean rank; nan where all are tied."""
    ranks = np.stack([rankdata(x), rankdata(y)])
    if (ranks.std(axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How the ranks of a predictor follow those of an outcome."""

    value: float
    over_runs: tuple[float, float]
    """95 % of the draws when single runs are drawn again."""
    over_cells: tuple[float, float]
    """The same when whole cells are drawn: runs that differ in their seed alone come together."""
    first_share: float
    """Share of the draws over cells in which this predictor's value is the highest of all."""


def correlations(
    predictors: dict[str, Floats], outcome: Floats, cells: Sequence[Hashable]
) -> dict[str, Correlation]:
    """Correlate every predictor with the outcome; all arrays and `cells` are as long as the runs.

    The draws are the same for all predictors, so they can be compared draw by draw.
    """
    over_runs = _drawn(predictors, outcome, [np.array([i]) for i in range(len(outcome))])
    members: dict[Hashable, list[int]] = {}
    for i, cell in enumerate(cells):
        members.setdefault(cell, []).append(i)
    over_cells = _drawn(predictors, outcome, [np.array(one) for one in members.values()])
    first = np.nanargmax(np.nan_to_num(over_cells, nan=-2.0), axis=1)
    return {
        name: Correlation(
            value=spearman(values, outcome),
            over_runs=_interval(over_runs[:, i]),
            over_cells=_interval(over_cells[:, i]),
            first_share=float((first == i).mean()),
        )
        for i, (name, values) in enumerate(predictors.items())
    }


def _drawn(
    predictors: dict[str, Floats], outcome: Floats, units: Sequence[npt.NDArray[np.int_]]
) -> Floats:
    """Correlations in every draw of as many units, with replacement: (draws, predictors)."""
    rng = np.random.default_rng(SEED)
    rows = []
    for _ in range(DRAWS):
        picked = np.concatenate([units[i] for i in rng.integers(0, len(units), len(units))])
        rows.append([spearman(one[picked], outcome[picked]) for one in predictors.values()])
    return np.array(rows)


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
