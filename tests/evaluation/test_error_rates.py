"""How often the verdict errs, for pairs of models whose true loss is known.

Seeds are fixed. A rate of alpha = 0.05 over 4,000 draws has a standard error of 0.0034; TOLERANCE
allows three of them. The whole table comes from `make bench-verdicts`.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import verdict_draws as draws
from evaluation.judging import statistics
from evaluation.judging.paired import Document, PairedItems
from evaluation.judging.pairing import benchmark_from_counts, paired_perplexity
from evaluation.judging.rule import Rule
from evaluation.judging.statistics import MeanEstimate
from evaluation.judging.verdict import verdict

pytestmark = pytest.mark.slow

ALPHA, DRAWS = 0.05, 4000
TOLERANCE = 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)
Draw = Callable[[np.random.Generator, int, int, list[float], float], draws.Outcomes]


def rate(codes: draws.Counts, outcome: int) -> float:
    return float((codes == outcome).mean())


@pytest.mark.parametrize("n", [60, 339, 1000])
@pytest.mark.parametrize("discordant", [0.05, 0.2])
@pytest.mark.parametrize("margin", [0.02, 0.1])
@pytest.mark.parametrize("draw", [draws.draw_items, draws.draw_clusters])
def test_error_rates_of_one_benchmark(n: int, discordant: float, margin: float, draw: Draw) -> None:
    rng = np.random.default_rng(7)
    at_margin = draw(rng, DRAWS, n, [margin], discordant)
    codes = draws.verdicts(at_margin, gate_on="each", margin=margin, alpha=ALPHA)
    assert rate(codes, draws.RETAINED) <= ALPHA + TOLERANCE
    unchanged = draw(rng, DRAWS, n, [0.0], discordant)
    codes = draws.verdicts(unchanged, gate_on="each", margin=margin, alpha=ALPHA)
    assert rate(codes, draws.FORGOTTEN) <= ALPHA + TOLERANCE


@pytest.mark.parametrize("gate_on", ["each", "pooled"])
@pytest.mark.parametrize("draw", [draws.draw_items, draws.draw_clusters])
def test_error_rates_of_ten_benchmarks(gate_on: str, draw: Draw) -> None:
    rng = np.random.default_rng(7)
    losses = [0.1] * 10 if gate_on == "pooled" else [0.1] + [-0.05] * 9
    codes = draws.verdicts(
        draw(rng, 2000, 60, losses, 0.1), gate_on=gate_on, margin=0.1, alpha=0.05
    )
    assert rate(codes, draws.RETAINED) <= ALPHA + TOLERANCE * math.sqrt(2)
    unchanged = draw(rng, 2000, 60, [0.0] * 10, 0.2)
    codes = draws.verdicts(unchanged, gate_on=gate_on, margin=0.02, alpha=ALPHA)
    assert rate(codes, draws.FORGOTTEN) <= ALPHA + TOLERANCE * math.sqrt(2)


@pytest.mark.parametrize("documents", [8, 10, 24, 60])
@pytest.mark.parametrize("shape", ["normal", "heavy", "skewed"])
def test_error_rates_of_perplexity(documents: int, shape: str) -> None:
    rng, log_margin = np.random.default_rng(7), math.log(1.03)
    at_margin = draws.draw_texts(rng, DRAWS, documents, log_margin, 0.02, shape)
    codes = draws.text_verdicts(at_margin, log_margin=log_margin, alpha=ALPHA)
    assert rate(codes, draws.RETAINED) <= ALPHA + TOLERANCE
    unchanged = draws.draw_texts(rng, DRAWS, documents, 0.0, 0.02, shape)
    codes = draws.text_verdicts(unchanged, log_margin=log_margin, alpha=ALPHA)
    assert rate(codes, draws.FORGOTTEN) <= ALPHA + TOLERANCE


@pytest.mark.parametrize("size", [1, 5])
def test_error_rates_of_adaptive_mode(size: int) -> None:
    rng = np.random.default_rng(7)
    for loss, wrong in ((0.05, draws.RETAINED), (0.0, draws.FORGOTTEN)):
        sums, sizes = draws.draw_units(rng, 2000, 600, loss, 0.1, size=size)
        codes, used = draws.adaptive(sums, sizes, margin=0.05, alpha=ALPHA)
        assert rate(codes, wrong) <= ALPHA + TOLERANCE * math.sqrt(2)
        assert 0 < used.min() <= used.max() <= 600


def test_a_few_scattered_changes_do_not_prove_that_clusters_are_harmless() -> None:
    scattered = statistics.clustered_mean(
        [1, 0, 0, 0, 0, 1] + [0] * 14, [i // 5 for i in range(20)]
    )
    # Four clusters of 5, two of them with one lost item: residual sums .5 .5 -.5 -.5, so
    # V = 1 * 4/3; (4/3 + 5) / (2 - 4/20 + 1)
    assert scattered.group_size == 5
    assert statistics.design_effect(2, 0, 20, scattered) == pytest.approx((4 / 3 + 5) / 2.8)
    alone = statistics.clustered_mean([1, 0, -1, 0], [0, 1, 2, 3])
    assert statistics.design_effect(1, 1, 4, alone) == pytest.approx((4 / 3 * 2 + 1) / 3)
    assert statistics.design_effect(0, 0, 20, statistics.clustered_mean([0] * 4, [0, 0, 1, 1])) == 2


def comparisons(outcomes: draws.Outcomes, row: int) -> list[PairedItems]:
    """One draw as the differences that evaluation.judging.pairing makes of the same counts."""
    made = []
    for column in range(outcomes.lost.shape[1]):
        clustered, spread = None, outcomes.clustered
        if spread is not None:
            clustered = MeanEstimate(
                mean=float(spread.mean[row, column]),
                standard_error=float(spread.error[row, column]),
                degrees_of_freedom=int(spread.freedom),
                group_size=spread.group_size,
            )
        lost, gained = (int(one[row, column]) for one in (outcomes.lost, outcomes.gained))
        made.append(
            benchmark_from_counts(
                name=f"b{column}",
                n=outcomes.n,
                lost=lost,
                gained=gained,
                correct_before=lost,
                clustered=clustered,
            )
        )
    return made


@pytest.mark.parametrize("gate_on", ["each", "pooled"])
@pytest.mark.parametrize("draw", [draws.draw_items, draws.draw_clusters])
@pytest.mark.parametrize("benchmarks", [1, 4])
def test_array_decisions_are_the_verdicts_decisions(
    gate_on: str, draw: Draw, benchmarks: int
) -> None:
    rng, seen = np.random.default_rng(3), set()
    for _ in range(30):
        n, margin = int(rng.integers(20, 800)), float(rng.choice([0.02, 0.05, 0.1]))
        losses = list(rng.choice([-0.05, 0.0, 0.2], p=[0.4, 0.4, 0.2], size=benchmarks))
        outcomes = draw(rng, 3, n, losses, 0.1)
        rule = Rule(gate_on=gate_on, pooled_margin=margin, default_margin=margin, alpha=ALPHA)
        codes = draws.verdicts(outcomes, gate_on=gate_on, margin=margin, alpha=ALPHA)
        for row in range(3):
            judged = verdict(comparisons(outcomes, row), [], rule)
            assert draws.NAMES[codes[row]] == judged.outcome
            seen.add(judged.outcome)
    assert len(seen) == 3


def test_array_decisions_on_texts_are_the_verdicts_decisions() -> None:
    rng, seen = np.random.default_rng(3), set()
    for change in (-0.01, 0.0, 0.02, 0.04, 0.08) * 20:
        changes = change + rng.normal(0, 0.03, 8)
        tokens = rng.integers(128, 513, 8)
        before, after = (
            [
                Document(doc_hash=str(i), nll_nats=float(nll), tokens=int(size))
                for i, (nll, size) in enumerate(zip(nats, tokens, strict=True))
            ]
            for nats in (3.0 * tokens, (3.0 + changes) * tokens)
        )
        text = paired_perplexity(domain="prose", before=before, after=after)
        outcome = verdict([], [text], Rule(perplexity_margin_ratio=1.03)).outcome
        estimates = draws.ratio_estimates((changes * tokens)[None], tokens[None].astype(float))
        code = draws.text_verdicts(estimates, log_margin=math.log(1.03), alpha=ALPHA)[0]
        assert draws.NAMES[code] == outcome
        seen.add(outcome)
    assert len(seen) == 3
