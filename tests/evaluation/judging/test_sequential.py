"""Adaptive mode: evidence by hand, order by hash, and when it stops."""

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import verdict_draws as draws
from evaluation.judging.sequential import (
    BETS,
    HARM_SHOWN,
    LARGEST_LOG,
    NON_INFERIORITY_SHOWN,
    UNDECIDED,
    SequentialTest,
    sequential_order,
)

OUTCOMES = st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=1, max_size=80)


def names(count: int) -> list[str]:
    return [f"item {i}" for i in range(count)]


@dataclass(frozen=True)
class Result:
    outcome: str
    items_used: int
    loss: float
    e_harm: float


def sequential_judge(
    *, hashes: list[str], losses: list[int], margin: float, clusters: list[str] | None = None
) -> Result:
    """Take items in random order, whole clusters at once, until the answer is certain."""
    units: dict[str, list[int]] = {}
    for position, name in enumerate(hashes if clusters is None else clusters):
        units.setdefault(name, []).append(position)
    members = list(units.values())
    order = sequential_order([min(hashes[one] for one in unit) for unit in members])
    test = SequentialTest(margin=margin, largest_unit=max(len(unit) for unit in members))
    for place in order:
        if test.add([losses[one] for one in members[place]]) != UNDECIDED:
            break
    else:
        test.finish()
    return Result(test.outcome, test.items_used, test.loss, test.e_harm)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_evidence_by_hand() -> None:
    test = SequentialTest(margin=0.1)
    for loss in (1, 0, -1):
        test.add([loss])
    assert test.e_harm == pytest.approx(mean([(1 + bet) * (1 - bet) for bet in BETS]))
    bets = [bet / 0.9 for bet in BETS]
    by_hand = mean([(1 - 0.9 * bet) * (1 + 0.1 * bet) * (1 + 1.1 * bet) for bet in bets])
    assert test.e_non_inferior == pytest.approx(by_hand)
    bets = [bet / 1.1 for bet in BETS]
    by_hand = mean([(1 + 0.9 * bet) * (1 - 0.1 * bet) * (1 - 1.1 * bet) for bet in bets])
    assert test.e_excess == pytest.approx(by_hand)
    assert (test.items_used, test.loss, test.outcome) == (3, 0.0, UNDECIDED)


def test_a_cluster_is_one_bet_in_units_of_the_largest() -> None:
    test = SequentialTest(margin=0.1, largest_unit=4)
    test.add([1, 1, 0])
    assert test.e_harm == pytest.approx(mean([1 + bet * 2 / 4 for bet in BETS]))
    bets = [bet / 0.9 for bet in BETS]
    assert test.e_non_inferior == pytest.approx(mean([1 + bet * (0.3 - 2) / 4 for bet in bets]))


def test_it_stops_at_one_over_alpha() -> None:
    kept = sequential_judge(hashes=names(400), losses=[0] * 400, margin=0.1)
    # The largest bet alone has 1 + 0.9 / 0.9 * 0.1 = 1.1 an item; all four reach 20 after 44.
    growth = [1 + 0.1 * bet / 0.9 for bet in BETS]
    needed = next(n for n in range(400) if mean([one**n for one in growth]) >= 20)
    assert (kept.outcome, kept.items_used) == (NON_INFERIORITY_SHOWN, needed)
    harmed = sequential_judge(hashes=names(400), losses=[1] * 400, margin=0.1)
    growth = [1 + 0.9 * bet / 1.1 for bet in BETS]
    needed = next(n for n in range(400) if mean([one**n for one in growth]) >= 20)
    assert (harmed.outcome, harmed.items_used) == (HARM_SHOWN, needed)


def test_few_items_stay_undecided() -> None:
    result = sequential_judge(hashes=names(20), losses=[0] * 20, margin=0.1)
    assert (result.outcome, result.items_used) == (UNDECIDED, 20)


def test_a_real_loss_within_the_margin_is_not_harm() -> None:
    # Four of ten items lost: certainly a loss, and certainly less than the half allowed.
    losses = [int(i % 10 < 4) for i in range(1000)]
    result = sequential_judge(hashes=names(1000), losses=losses, margin=0.5)
    assert (result.outcome, result.e_harm >= 20) == (NON_INFERIORITY_SHOWN, True)


def test_at_the_end_a_real_loss_above_the_margin_is_harm() -> None:
    # A little more lost than allowed: excess cannot be shown, but the loss is real.
    losses = [int(i % 10 == 9) for i in range(300)]
    for margin, outcome in ((0.09, HARM_SHOWN), (0.11, UNDECIDED)):
        result = sequential_judge(hashes=names(300), losses=losses, margin=margin)
        assert (result.outcome, result.items_used) == (outcome, 300)
        assert result.e_harm >= 20
    few = sequential_judge(hashes=names(300)[:20], losses=losses[:20], margin=0.09)
    assert (few.loss, few.outcome) == (0.1, UNDECIDED)


@given(OUTCOMES, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_ends_agree_whatever_the_order(losses: list[int], chance: random.Random) -> None:
    ends = []
    for _ in range(2):
        test = SequentialTest(margin=0.3, alpha=1e-300)
        for loss in losses:
            test.add([loss])
        ends.append((test.e_harm, test.e_non_inferior, test.e_excess, test.loss))
        chance.shuffle(losses)
    assert ends[0] == pytest.approx(ends[1])


@given(OUTCOMES, st.floats(0.01, 0.9))
@settings(max_examples=100, deadline=None)
def test_the_bets_are_fair_where_their_hypothesis_holds(losses: list[int], margin: float) -> None:
    """After any past, the mean next factor is 1 for an item that is as bad as allowed at most."""
    test = SequentialTest(margin=margin, alpha=1e-300)
    for loss in losses:
        test.add([loss])
    for loss_mean, name in ((0.0, "e_harm"), (margin, "e_non_inferior"), (margin, "e_excess")):
        now = getattr(test, name)
        after = {}
        for outcome in (-1, 1):
            again = SequentialTest(margin=margin, alpha=1e-300)
            for loss in [*losses, outcome]:
                again.add([loss])
            after[outcome] = getattr(again, name)
        up = (1 + loss_mean) / 2
        assert up * after[1] + (1 - up) * after[-1] == pytest.approx(now)
        assert min(after.values()) > 0


def test_the_order_depends_on_hashes_and_seed_alone() -> None:
    hashes = names(50)
    order = [hashes[i] for i in sequential_order(hashes)]
    assert sorted(order) == sorted(hashes) and order != hashes
    assert [hashes[::-1][i] for i in sequential_order(hashes[::-1])] == order
    assert [hashes[i] for i in sequential_order(hashes, seed="other")] != order
    assert sequential_order(["a", "b", "c"]) == [1, 0, 2]


def test_the_answer_does_not_depend_on_the_order_of_the_file() -> None:
    rng = np.random.default_rng(1)
    losses = [int(one) for one in rng.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=600)]
    clusters = [f"text {i // 4}" for i in range(600)]
    rows = list(zip(names(600), losses, clusters, strict=True))
    results = []
    for _ in range(2):
        hashes, values, texts = (list(column) for column in zip(*rows, strict=True))
        results += [
            sequential_judge(hashes=hashes, losses=values, margin=0.05),
            sequential_judge(hashes=hashes, losses=values, margin=0.05, clusters=texts),
        ]
        random.Random(2).shuffle(rows)
    assert results[:2] == results[2:]
    assert results[1].items_used % 4 == 0


@pytest.mark.parametrize("size", [1, 5])
def test_array_path_agrees_with_the_item_by_item_path(size: int) -> None:
    rng, seen = np.random.default_rng(5), set()
    for loss in (0.0, 0.05, 0.2):
        sums, sizes = draws.draw_units(rng, 40, 300, loss, 0.1, size=size)
        codes, used = draws.adaptive(sums, sizes, margin=0.1, alpha=0.05)
        for row in range(40):
            test = SequentialTest(margin=0.1, largest_unit=size)
            for total, count in zip(sums[row].astype(int), sizes, strict=True):
                sign = 1 if total > 0 else -1
                unit = [sign] * abs(total) + [0] * (count - abs(total))
                if test.add(unit) != UNDECIDED:
                    break
            test.finish()
            names_of = (NON_INFERIORITY_SHOWN, UNDECIDED, HARM_SHOWN)
            assert (names_of[codes[row]], used[row]) == (test.outcome, test.items_used)
            seen.add(test.outcome)
    assert len(seen) == 3


def test_evidence_stays_finite() -> None:
    test = SequentialTest(margin=0.999, alpha=1e-320)
    for _ in range(1200):
        test.add([1])
    assert test.e_harm == math.exp(LARGEST_LOG)


@pytest.mark.parametrize(
    "margin, alpha, unit", [(0, 0.05, 1), (1, 0.05, 1), (0.1, 0, 1), (0.1, 0.05, 0)]
)
def test_impossible_tests_are_refused(margin: float, alpha: float, unit: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        SequentialTest(margin=margin, alpha=alpha, largest_unit=unit)


def test_impossible_outcomes_are_refused() -> None:
    test = SequentialTest(margin=0.1)
    for unit in ([], [0, 0], [2]):
        with pytest.raises(ValueError, match="outcomes of -1, 0 or 1"):
            test.add(unit)
    while test.outcome == UNDECIDED:
        test.add([0])
    with pytest.raises(ValueError, match="already certain"):
        test.add([0])
