"""Published vectors to six digits, and properties that must hold for any counts."""

import math
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from evaluation.judging import statistics
from evaluation.judging.skewness import narrowed, skewness_of_ratio, widened

SIX_DIGITS = 5e-7


def near(value: float) -> object:
    return pytest.approx(value, abs=SIX_DIGITS)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 300))
    lost = draw(st.integers(0, n))
    return lost, draw(st.integers(0, n - lost)), n


def test_mcnemar_vector() -> None:
    assert statistics.mcnemar_exact(25, 10) == near(0.0166738)
    assert statistics.mcnemar_exact(0, 0) == 1.0
    assert statistics.mcnemar_exact(7, 7) == 1.0


@pytest.mark.parametrize(
    ("lost", "gained", "n", "level", "low", "high"),
    [
        (25, 10, 1000, 0.95, 0.0036029, 0.0277377),
        (25, 10, 1000, 0.90, 0.0054851, 0.0254877),
        (1, 7, 21, 0.95, -0.5172321, -0.0260030),
    ],
)
def test_tango_interval_vectors(
    lost: int, gained: int, n: int, level: float, low: float, high: float
) -> None:
    interval = statistics.tango_interval(lost, gained, n, level)
    assert (interval.low, interval.high) == (near(low), near(high))


def test_non_inferiority_vector() -> None:
    assert statistics.non_inferiority_p(25, 10, 1000, 0.03) == near(0.0117843)


def test_paired_standard_error_vector() -> None:
    differences = [1.0] * 25 + [-1.0] * 10 + [0.0] * 965
    assert statistics.paired_mean(differences).standard_error == pytest.approx(
        0.0058999838, abs=1e-10
    )


def test_clustered_standard_error_vectors() -> None:
    differences = [1, 1, 0, 0, -1, 0, 0, 1, 0, 0]
    clusters = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    plain = statistics.clustered_mean(differences, clusters, small_sample=False)
    corrected = statistics.clustered_mean(differences, clusters)
    assert plain.standard_error == near(0.2135416)
    assert corrected.standard_error == near(0.2615339)
    assert corrected.degrees_of_freedom == 2


def test_clusters_of_one_item_give_the_paired_standard_error() -> None:
    differences = [1.0, 0.0, -1.0, 0.0, 1.0, 1.0]
    clustered = statistics.clustered_mean(differences, list(range(6)))
    assert clustered.standard_error == pytest.approx(
        statistics.paired_mean(differences).standard_error
    )


def test_holm_vector() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


@pytest.mark.parametrize(("margin", "items"), [(0.01, 6183), (0.02, 1546), (0.03, 687)])
def test_items_needed_vectors(margin: float, items: int) -> None:
    assert statistics.items_needed(0.10, margin) == items


def test_items_needed_without_change_is_where_tango_first_passes() -> None:
    for margin in (0.01, 0.05, 0.1, 0.3):
        n = statistics.items_needed_without_change(margin, 0.05)
        assert statistics.non_inferiority_p(0, 0, n, margin) < 0.05
        assert statistics.non_inferiority_p(0, 0, n - 1, margin) >= 0.05


def test_perplexity_ratio_equals_the_ratio_of_perplexities() -> None:
    before, after, tokens = [10.0, 30.0, 22.0], [11.0, 29.0, 26.0], [5, 12, 9]
    estimate = statistics.log_perplexity_ratio(before, after, tokens)
    perplexities = [math.exp(sum(nll) / sum(tokens)) for nll in (before, after)]
    assert math.exp(estimate.mean) == pytest.approx(perplexities[1] / perplexities[0])


def test_perplexity_error_agrees_with_a_bootstrap_over_documents() -> None:
    draw = random.Random(3)
    tokens = [draw.randint(100, 500) for _ in range(120)]
    before = [3.0 * t for t in tokens]
    after = [b + t * draw.gauss(0.02, 0.05) for b, t in zip(before, tokens, strict=True)]
    estimate = statistics.log_perplexity_ratio(before, after, tokens)
    means = []
    for _ in range(2000):
        chosen = draw.choices(range(120), k=120)
        means.append(sum(after[i] - before[i] for i in chosen) / sum(tokens[i] for i in chosen))
    centre = sum(means) / len(means)
    spread = math.sqrt(sum((m - centre) ** 2 for m in means) / (len(means) - 1))
    assert estimate.standard_error == pytest.approx(spread, rel=0.08)


def test_the_interval_of_few_documents_allows_for_skewness() -> None:
    # Five documents of one length: k = 2 / sqrt(5); Student's quantile for 4 degrees is 2.1318468.
    estimate = statistics.log_perplexity_ratio([0.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], [10] * 5)
    k, z = 2 / math.sqrt(5), 2.1318467863266504
    assert estimate.skewness == pytest.approx(k)
    assert estimate.standard_error == pytest.approx(math.sqrt(2.5 / 5) / 10)
    quantile = z + k * (2 * z * z + 1) / 6 + 11 * k * k * z * (z * z + 2) / 72
    interval = estimate.interval(0.90)
    assert interval is not None
    assert interval.high == pytest.approx(0.3 + quantile * math.sqrt(0.5) / 10)
    assert interval.low == pytest.approx(0.6 - interval.high)
    # The limit of the interval is where the one-sided p is 5 %, on both sides.
    assert estimate.p_below(interval.high) == pytest.approx(0.05)
    assert estimate.p_below(interval.low) == pytest.approx(0.95)


@given(st.floats(0, 1.2), st.floats(0, 50))
@example(1e-5, 0.0)
@example(1e-4, 0.0)
@example(1e-4, 50.0)
def test_widening_is_undone_and_never_narrows(skewness: float, quantile: float) -> None:
    wide = widened(quantile, skewness)
    assert wide >= quantile
    assert narrowed(wide, skewness) == pytest.approx(quantile, rel=1e-6, abs=1e-6)
    assert narrowed(-wide, skewness) == -narrowed(wide, skewness)


def test_the_quantiles_are_those_of_exponential_documents() -> None:
    rng = np.random.default_rng(4)
    for documents in (10, 24, 60):
        tokens = rng.integers(128, 513, documents).astype(float)
        changes = (rng.standard_exponential((40_000, documents)) - 1) * tokens
        ratio = changes.sum(1) / tokens.sum()
        squares = ((changes - ratio[:, None] * tokens) ** 2).sum(1)
        t = ratio * tokens.sum() / np.sqrt(documents / (documents - 1) * squares)
        student = -float(special.stdtrit(documents - 1, 0.05))
        quantile = -widened(student, float(skewness_of_ratio(tokens)))
        assert 0.03 < np.mean(t < quantile) < 0.055 < 0.08 < np.mean(t < -student)


def test_documents_needed_are_the_fewest_that_are_enough() -> None:
    draw = random.Random(2)
    after = [draw.gauss(0.2, 10.0) for _ in range(20)]
    estimate = statistics.log_perplexity_ratio([0.0] * 20, after, [200] * 20)
    needed = statistics.documents_needed(estimate, 20, 0.02)
    spread, quantile = 20 * (estimate.standard_error or 0.0) ** 2, special.stdtrit(needed - 1, 0.95)
    wide = widened(float(quantile), 2 / math.sqrt(needed))
    assert needed == pytest.approx((wide + 0.8416212) ** 2 * spread / 0.02**2, rel=0.01)
    assert needed > statistics.items_needed(spread, 0.02)
    assert statistics.documents_needed(estimate, 20, 10.0) == 2


def test_one_document_has_no_interval() -> None:
    estimate = statistics.log_perplexity_ratio([3.0], [3.5], [10])
    assert estimate.mean == pytest.approx(0.05)
    assert estimate.interval(0.95) is None
    assert estimate.p_below(0.1) is None


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="impossible counts"):
        statistics.tango_interval(3, 3, 5)
    with pytest.raises(ValueError, match="margin of zero"):
        statistics.items_needed(0.1, 0.0)


@given(counts())
@settings(deadline=None, max_examples=150)
def test_swapping_before_and_after_flips_the_interval(case: tuple[int, int, int]) -> None:
    lost, gained, n = case
    forward = statistics.tango_interval(lost, gained, n)
    backward = statistics.tango_interval(gained, lost, n).flipped()
    assert forward.low == pytest.approx(backward.low, abs=1e-7)
    assert forward.high == pytest.approx(backward.high, abs=1e-7)
    assert statistics.mcnemar_exact(lost, gained) == statistics.mcnemar_exact(gained, lost)


@given(counts())
@settings(deadline=None, max_examples=150)
def test_the_interval_holds_the_point_and_widens_with_the_level(
    case: tuple[int, int, int],
) -> None:
    lost, gained, n = case
    narrow = statistics.tango_interval(lost, gained, n, 0.90)
    wide = statistics.tango_interval(lost, gained, n, 0.95)
    point = (lost - gained) / n
    assert -1 <= wide.low <= narrow.low + 1e-9 and narrow.low <= point + 1e-9
    assert point - 1e-9 <= narrow.high and narrow.high <= wide.high + 1e-9 <= 1 + 2e-9


@given(counts(), st.floats(0.005, 0.5))
@settings(deadline=None, max_examples=150)
def test_passing_means_the_upper_limit_lies_below_the_margin(
    case: tuple[int, int, int], margin: float
) -> None:
    lost, gained, n = case
    upper = statistics.tango_interval(lost, gained, n, 0.90).high
    if abs(upper - margin) > 1e-6:
        passes = statistics.non_inferiority_p(lost, gained, n, margin) < 0.05
        assert passes == (upper < margin)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    assert all(a >= min(1.0, p) for a, p in zip(adjusted, p_values, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(adjusted)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(case: tuple[int, int]) -> None:
    correct, n = case
    interval = statistics.wilson_interval(correct, n)
    assert 0 <= interval.low <= correct / n + 1e-12 and correct / n - 1e-12 <= interval.high <= 1
    oracle = stats.binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test_of_an_even_split(lost: int, gained: int) -> None:
    oracle = stats.binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert statistics.mcnemar_exact(lost, gained) == pytest.approx(oracle, abs=1e-12)
