"""Points of a curve as the database keeps them: packed in chunks, with a summary of every stretch.

A chunk's data are its steps, as differences, and its values, bit for bit: the first bytes of all,
then the second ones, for these are alike; the whole is compressed by zstandard. Beside it stand its
blocks: of every BLOCK points those that a chart must not lose. All numbers are little endian. What
is packed here is read for as long as there are portals, so these formats stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import zstandard
from numpy.typing import NDArray

CHUNK = 1024
"""Most points of a chunk; as many wait until one is full."""
BLOCK = 64
"""Points that one block stands for."""
MEAN_STEPS = 10
"""Steps in the trailing mean that smooths a loss of single examples."""

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

_WIDTH = 8
_FIELDS = ("low", "high", "mean_low", "mean_high")
BLOCK_TYPE = np.dtype(
    [
        *((f"{field}_step", "<i8") for field in _FIELDS),
        *((f"{field}_value", "<f8") for field in _FIELDS),
        ("low_mean", "<f8"),
        ("high_mean", "<f8"),
    ]
)
"""The lowest and the highest value with their trailing means, and the lowest and highest mean."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Steps, ascending, and the value at each; NaN stands for what was not finite."""

    steps: Steps
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, part: "slice | NDArray[np.bool_]") -> "Points":
        return Points(steps=self.steps[part], values=self.values[part])

    @property
    def known(self) -> Floats:
        """The values that are there."""
        return self.values[~np.isnan(self.values)]

    def merged(self, newer: "Points") -> "Points":
        """With the points of `newer`, which replace those of the same steps."""
        if not len(self) or (len(newer) and newer.steps[0] > self.steps[-1]):
            return concatenated([self, newer])
        steps = np.concatenate([newer.steps, self.steps])
        values = np.concatenate([newer.values, self.values])
        kept, first = np.unique(steps, return_index=True)
        return Points(steps=kept, values=values[first])

    def pieces(self, most: int) -> Iterator["Points"]:
        """In pieces of about equal size, none with more than `most` points."""
        count = -(-len(self) // most)
        edges = [at * len(self) // count for at in range(count + 1)] if count else [0]
        for start, stop in pairwise(edges):
            yield self[start:stop]


def points_of(values: Mapping[int, float | None]) -> Points:
    """The points of step -> value. OverflowError for a step beyond 64 bits."""
    steps = sorted(values)
    known = (values[step] for step in steps)
    return Points(
        steps=np.array(steps, dtype=np.int64),
        values=np.array([np.nan if one is None else float(one) for one in known]),
    )


NO_POINTS = points_of({})


def concatenated(parts: list[Points]) -> Points:
    """Points that follow one another."""
    return Points(
        steps=np.concatenate([one.steps for one in parts] or [NO_POINTS.steps]),
        values=np.concatenate([one.values for one in parts] or [NO_POINTS.values]),
    )


def pack(points: Points) -> bytes:
    """Points as `unpack` reads them."""
    steps = np.diff(points.steps, prepend=0).astype("<i8")
    planes = points.values.astype("<f8").view(np.uint8).reshape(-1, _WIDTH).T
    return zstandard.ZstdCompressor().compress(steps.tobytes() + planes.tobytes())


def unpack(data: bytes | memoryview) -> Points:
    """What `pack` has packed."""
    whole = zstandard.ZstdDecompressor().decompress(data)
    half = len(whole) // 2
    planes = np.frombuffer(whole, dtype=np.uint8, offset=half).reshape(_WIDTH, -1)
    return Points(
        steps=np.cumsum(np.frombuffer(whole, dtype="<i8", count=half // _WIDTH), dtype=np.int64),
        values=np.ascontiguousarray(planes.T).view("<f8").ravel().astype(np.float64, copy=False),
    )


def means_of(values: Floats, before: Floats) -> Floats:
    """At each place the mean of the last MEAN_STEPS known values; NaN where the value is missing.

    before: known values that come before these, of which the last ones count.
    """
    places = np.flatnonzero(~np.isnan(values))
    ahead = before[-(MEAN_STEPS - 1) :]
    window = np.concatenate([np.zeros(MEAN_STEPS - 1 - len(ahead)), ahead, values[places]])
    means = np.full(len(values), np.nan)
    if len(places):
        widths = np.minimum(np.arange(len(places)) + 1 + len(ahead), MEAN_STEPS)
        with np.errstate(over="ignore"):
            sums = sum(window[at : at + len(places)] for at in range(MEAN_STEPS))
            means[places] = sums / widths
    return np.where(np.isfinite(means), means, np.nan)


def extremes(values: Floats, starts: NDArray[np.int64]) -> tuple[Steps, Steps]:
    """Of each stretch, from its start to the next one's, where it is lowest and where highest.

    Of equal values the first low and the last high; the start twice where no value is known.
    """
    stretch = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    missing = np.isnan(values)
    places = []
    for fill, reduce, last in ((np.inf, np.minimum, False), (-np.inf, np.maximum, True)):
        filled = np.where(missing, fill, values)
        at_best = np.flatnonzero(~missing & (filled == reduce.reduceat(filled, starts)[stretch]))
        best = starts.copy()
        # Of places that are written twice the last one stays.
        ordered = at_best if last else at_best[::-1]
        best[stretch[ordered]] = ordered
        places.append(best)
    return places[0], places[1]


def blocks_of(
    points: Points, before: Floats, *, is_first: bool = False, is_last: bool = False
) -> NDArray[np.void]:
    """The blocks of points that come after the known values `before`; an array of BLOCK_TYPE.

    The very first and the very last point of a curve have blocks of their own: charts keep them.
    """
    starts = np.arange(0, len(points), BLOCK)
    if is_first and len(points) > 1:
        starts = np.concatenate([[0], np.arange(1, len(points), BLOCK)])
    if is_last and len(points):
        starts = np.union1d(starts, [len(points) - 1])
    blocks = np.empty(len(starts), dtype=BLOCK_TYPE)
    if not len(starts):
        return blocks
    means = means_of(points.values, before)
    low, high = extremes(points.values, starts)
    mean_low, mean_high = extremes(means, starts)
    for field, at in zip(_FIELDS, (low, high, mean_low, mean_high), strict=True):
        blocks[f"{field}_step"] = points.steps[at]
        blocks[f"{field}_value"] = (means if field.startswith("mean") else points.values)[at]
    blocks["low_mean"], blocks["high_mean"] = means[low], means[high]
    return blocks
