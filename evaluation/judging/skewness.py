"""Student's t for the mean of a few documents that may change very unevenly.

Where a few documents get much worse than the rest, a small sample often holds none of them: its
mean is too good and its spread too small, both at once, and Student's interval misses the truth far
more often than it says. No small sample shows how uneven the changes are. So the quantiles used
here are those of the t statistic when the changes are exponential, by the Cornish-Fisher expansion
to second order (P. Hall, The Bootstrap and Edgeworth Expansion, 1992, chapter 2; skewness 2
and kurtosis 6 put in):

    q(z) = z - k (2 z^2 + 1) / 6 + 11 k^2 z (z^2 + 2) / 72

z is Student's quantile, k the skewness of the mean: 2 / sqrt(J) for J documents of one length. It
is taken on both sides, since nobody knows beforehand which way the tail points. q grows with z
whatever k is. For many documents k goes to zero and q to z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EXPONENTIAL = 2.0
"""The skewness of an exponential distribution: how uneven changes may be."""

NEGLIGIBLE = 1e-4
"""A skewness under this widens nothing: 1.7e-5 standard errors are left out."""


def skewness_of_ratio(tokens: Sequence[int] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Skewness of sum(d) / sum(T) where d_j / T_j are exponential: 2 sum(T^3) / sum(T^2)^(3/2).

    Over the last axis: shape (..., J) gives (...).
    """
    t = np.asarray(tokens, dtype=np.float64)
    skewness: NDArray[np.float64] = EXPONENTIAL * (t**3).sum(-1) / (t**2).sum(-1) ** 1.5
    return skewness


def widened(quantile: float, skewness: float) -> float:
    """The half width, in standard errors, that takes the place of Student's (`quantile`, >= 0)."""
    if skewness < NEGLIGIBLE:
        return quantile
    z, k = -quantile, skewness
    return -(z - k * (2 * z * z + 1) / 6 + 11 * k * k * z * (z * z + 2) / 72)


def narrowed(t: float, skewness: float) -> float:
    """Undo `widened`, odd in t: Student's t that is as unusual as this t under such skewness."""
    return math.copysign(float(narrowed_sizes(np.abs(t), np.asarray(skewness))), t)


def narrowed_sizes(
    sizes: NDArray[np.float64], skewness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`narrowed` for arrays of |t|: the one real root of a cubic, 0 where that is beyond 0."""
    k = np.maximum(skewness, NEGLIGIBLE)
    cubic, square, linear = 11 * k * k / 72, k / 3, 1 + 11 * k * k / 36
    constant = k / 6 - sizes
    # With z = x - square / (3 cubic): x^3 + p x + q = 0, where p > 0 because q(z) grows with z.
    p = (3 * cubic * linear - square**2) / (3 * cubic**2)
    q = (2 * square**3 - 9 * cubic * square * linear + 27 * cubic**2 * constant) / (27 * cubic**3)
    x = -2 * np.sqrt(p / 3) * np.sinh(np.arcsinh(1.5 * q / p * np.sqrt(3 / p)) / 3)
    root = np.maximum(0.0, x - square / (3 * cubic))
    narrowed: NDArray[np.float64] = np.where(skewness < NEGLIGIBLE, sizes, np.minimum(root, sizes))
    return narrowed
