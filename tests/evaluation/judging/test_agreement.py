"""Acceptance plans, bounds and agreement against published figures."""

import math

import pytest

from evaluation.judging import agreement

PLANS = {
    0.10: [29, 46, 61, 76],
    0.05: [59, 93, 124, 153],
    0.02: [149, 236, 313, 386],
    0.01: [299, 473, 628, 773],
}


@pytest.mark.parametrize(
    ("rate", "allowed", "items"),
    [(rate, allowed, n) for rate, sizes in PLANS.items() for allowed, n in enumerate(sizes)],
)
def test_acceptance_plan_sizes(rate: float, allowed: int, items: int) -> None:
    assert agreement.acceptance_items(rate, allowed) == items


@pytest.mark.parametrize(
    ("defects", "n", "percent"), [(0, 20, 13.91), (0, 59, 4.95), (0, 100, 2.95), (1, 93, 5.00)]
)
def test_defect_rate_bound(defects: int, n: int, percent: float) -> None:
    assert 100 * agreement.defect_rate_bound(defects, n) == pytest.approx(percent, abs=0.005)


def test_everything_defective_is_bounded_by_one() -> None:
    assert agreement.defect_rate_bound(5, 5) == 1.0


def test_a_plan_and_its_bound_agree() -> None:
    for rate, sizes in PLANS.items():
        for allowed, n in enumerate(sizes):
            assert agreement.defect_rate_bound(allowed, n) <= rate
            assert agreement.defect_rate_bound(allowed, n - 1) > rate


def test_krippendorff_vector() -> None:
    items = list(zip("0100000010", "1110010000", strict=True))
    assert agreement.krippendorff_alpha(items) == pytest.approx(0.0952381, abs=5e-8)
    assert agreement.raw_agreement(items) == pytest.approx(0.6)


def test_krippendorff_on_his_own_four_reviewer_example() -> None:
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: nominal .743.
    reviewers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    items = [list(values) for values in zip(*reviewers, strict=True)]
    assert agreement.krippendorff_alpha(items) == pytest.approx(0.743421, abs=5e-7)


def test_agreement_is_undefined_rather_than_perfect_without_variation() -> None:
    assert agreement.krippendorff_alpha([["ok", "ok"], ["ok", "ok"]]) is None
    assert agreement.raw_agreement([["ok", "ok"], ["ok", "ok"]]) == 1.0
    assert agreement.krippendorff_alpha([["ok", None], ["bad"]]) is None
    assert agreement.raw_agreement([["ok"]]) is None


def test_alpha_collapses_where_nearly_everything_passes() -> None:
    items = [["ok", "ok"]] * 48 + [["ok", "bad"], ["bad", "ok"]]
    alpha = agreement.krippendorff_alpha(items)
    raw = agreement.raw_agreement(items)
    assert alpha is not None and alpha < 0.0
    assert raw is not None and raw > 0.95


def test_sign_test_and_side_bias() -> None:
    assert agreement.sign_test(9, 1) == pytest.approx(22 / 1024)
    assert agreement.sign_test(0, 0) == 1.0
    assert agreement.side_bias_p(5, 5) == 1.0
    assert agreement.side_bias_p(10, 0) == pytest.approx(2 / 1024)


@pytest.mark.parametrize(("n", "allowed"), [(29, 0), (59, 0), (93, 1), (153, 3)])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.1, 1.0])
def test_the_chance_to_pass_is_the_sum_of_binomial_terms(n: int, allowed: int, rate: float) -> None:
    by_hand = sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(allowed + 1))
    assert agreement.acceptance_chance(rate, n, allowed) == pytest.approx(by_hand, abs=1e-12)


def test_a_candidate_at_the_bound_passes_one_time_in_twenty() -> None:
    for defects, n in ((0, 20), (0, 59), (1, 93), (3, 124)):
        bound = agreement.defect_rate_bound(defects, n)
        assert agreement.acceptance_chance(bound, n, defects) == pytest.approx(0.05, abs=1e-9)
