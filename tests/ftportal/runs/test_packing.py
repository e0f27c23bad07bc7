"""Points packed, their means, and what charts keep of them; each against plain Python."""

import math
import random
import struct
from collections.abc import Sequence

import numpy as np
import pytest

from ftportal.runs.metrics import minmax_indices
from ftportal.runs.packing import (
    BLOCK,
    BLOCK_TYPE,
    MEAN_STEPS,
    Floats,
    blocks_of,
    means_of,
    pack,
    points_of,
    unpack,
)

Values = Sequence[float | None]


def means_by_hand(values: Values, before: Sequence[float] = ()) -> list[float | None]:
    """At each place the mean of the last MEAN_STEPS known values; None where one is missing."""
    known, means = list(before), []
    for value in values:
        if value is not None:
            known.append(value)
        last = known[-MEAN_STEPS:]
        means.append(None if value is None else math.fsum(last) / len(last))
    return means


def thinned_by_hand(values: Values, points: int) -> list[int]:
    """Of equal buckets between both ends the places of the lowest and the highest value."""
    if len(values) <= points:
        return list(range(len(values)))
    buckets = max(1, (points - 2) // 2)
    inner = len(values) - 2
    kept = {0, len(values) - 1}
    for bucket in range(buckets):
        start, stop = 1 + bucket * inner // buckets, 1 + (bucket + 1) * inner // buckets
        known = [(value, at) for at in range(start, stop) if (value := values[at]) is not None]
        kept |= {min(known)[1], max(known)[1]} if known else {start}
    return sorted(kept)


def random_values(seed: int, count: int) -> list[float | None]:
    """Values with equal ones among them, some missing one by one, and a long gap."""
    draw = random.Random(seed)
    values: list[float | None] = [
        round(draw.gauss(0, 1), draw.choice([1, 15])) for _ in range(count)
    ]
    for at in range(count):
        if draw.random() < 0.02 or 0.4 < at / count < 0.5:
            values[at] = None
    return values


def array(values: Values) -> Floats:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def test_what_is_packed_comes_back_to_the_bit() -> None:
    odd = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, -1 / 3, None, 2.0**53 + 2]
    steps = [0, 1, 2, 7, 1000, 2**31, 2**40, 2**62]
    points = unpack(pack(points_of(dict(zip(steps, odd, strict=True)))))
    assert points.steps.tolist() == steps
    bits = [struct.pack("<d", math.nan if one is None else one) for one in odd]
    assert [struct.pack("<d", one) for one in points.values.tolist()] == bits
    assert len(unpack(pack(points_of({})))) == 0


def test_what_torch_reports_takes_half_the_room() -> None:
    draw = np.random.default_rng(0)
    single = draw.normal(size=1000).astype(np.float32).astype(float)
    double = draw.normal(size=1000)
    sizes = [len(pack(points_of(dict(enumerate(of.tolist()))))) / 1000 for of in (single, double)]
    assert sizes[0] < 5
    assert sizes[1] < 8.2


@pytest.mark.parametrize("count", [1, 9, 10, 11, 500])
@pytest.mark.parametrize("before", [[], [4.0, 5.0], [float(n) for n in range(12)]])
def test_trailing_means(count: int, before: list[float]) -> None:
    values = random_values(count, count)
    means = [None if math.isnan(one) else one for one in means_of(array(values), np.array(before))]
    assert means == pytest.approx(means_by_hand(values, before))


def test_a_mean_that_no_number_holds_is_missing() -> None:
    assert np.isnan(means_of(np.array([1.5e308, 1.5e308]), np.zeros(0))).tolist() == [False, True]


@pytest.mark.parametrize("count", [1, 3, 10, 11, 12, 100, 1001, 5000])
@pytest.mark.parametrize("points", [10, 11, 100, 1000])
def test_thinning_keeps_what_plain_python_keeps(count: int, points: int) -> None:
    values = random_values(points + count, count)
    kept = minmax_indices(array(values), points).tolist()
    assert kept == thinned_by_hand(values, points)
    assert len(kept) <= points or points < 4


def test_thinning_keeps_ends_and_every_peak() -> None:
    values: list[float | None] = [random.Random(0).random() for _ in range(10_000)]
    values[5_001], values[7_777] = 50.0, -50.0
    kept = minmax_indices(array(values), 1000)
    assert len(kept) <= 1000
    assert {0, 5_001, 7_777, 9_999} <= set(kept)


def test_thinning_keeps_a_gap() -> None:
    values: list[float | None] = [1.0] * 5000 + [None] * 2000 + [1.0] * 3000
    kept = minmax_indices(array(values), 100)
    assert any(values[at] is None for at in kept)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("count", [1, 2, BLOCK, BLOCK + 1, 1000])
def test_blocks_keep_their_extremes(count: int, is_first: bool, is_last: bool) -> None:
    values, before = random_values(count, count), [1.0, 2.0]
    blocks = blocks_of(
        points_of({5 + 3 * at: value for at, value in enumerate(values)}),
        np.array(before),
        is_first=is_first,
        is_last=is_last,
    )
    edges = sorted(
        {*range(1 if is_first else 0, count, BLOCK), 0} | ({count - 1} if is_last else set())
    )
    means = means_by_hand(values, before)
    assert blocks.dtype == BLOCK_TYPE
    assert len(blocks) == len(edges)
    for block, start, stop in zip(blocks, edges, [*edges[1:], count], strict=True):
        for kind, of in (("", values), ("mean_", means)):
            known = [(value, at) for at in range(start, stop) if (value := of[at]) is not None]
            for field, best in (("low", min), ("high", max)):
                at = best(known)[1] if known else start
                assert block[f"{kind}{field}_step"] == 5 + 3 * at
                expected = math.nan if (kept := of[at]) is None else kept
                assert block[f"{kind}{field}_value"] == pytest.approx(expected, nan_ok=True)
                if not kind:
                    mean = math.nan if (kept := means[at]) is None else kept
                    assert block[f"{field}_mean"] == pytest.approx(mean, nan_ok=True)
