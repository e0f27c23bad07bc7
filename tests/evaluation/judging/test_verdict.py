"""What a verdict says about measurements whose truth is known."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluation.judging.comparison import (
    BenchmarkComparison,
    PerplexityComparison,
    benchmark_judge,
    perplexity_judge,
)
from evaluation.judging.paired import Document, Item
from evaluation.judging.pairing import ComparisonError, paired_benchmark, paired_perplexity
from evaluation.judging.rule import Rule, RuleError
from evaluation.judging.verdict import verdict


def items(outcomes: str, margins: list[float] | None = None, per_cluster: int = 0) -> list[Item]:
    return [
        Item(
            doc_hash=f"d{i}",
            prompt_hash=f"p{i}",
            target_hash=f"t{i}",
            correct=mark == "1",
            margin_nats=margins[i] if margins else None,
            cluster=f"c{i // per_cluster}" if per_cluster else None,
        )
        for i, mark in enumerate(outcomes)
    ]


def compared(
    kept: int, lost: int, gained: int, wrong: int = 0, name: str = "bench"
) -> BenchmarkComparison:
    before = "1" * kept + "1" * lost + "0" * gained + "0" * wrong
    after = "1" * kept + "0" * lost + "1" * gained + "0" * wrong
    pair = paired_benchmark(name=name, before=items(before), after=items(after))
    return benchmark_judge(pair, margin=0.1)


def text(factors: list[float], domain: str = "prose") -> PerplexityComparison:
    before = [
        Document(doc_hash=str(i), nll_nats=2.7 * 512, tokens=512) for i in range(len(factors))
    ]
    after = [
        Document(doc_hash=str(i), nll_nats=2.7 * 512 + 512 * math.log(factor), tokens=512)
        for i, factor in enumerate(factors)
    ]
    pair = paired_perplexity(domain=domain, before=before, after=after)
    return perplexity_judge(pair, margin_ratio=1.03)


def test_counts_and_signs() -> None:
    one = compared(kept=900, lost=25, gained=10, wrong=65)
    assert (one.n, one.lost, one.gained) == (1000, 25, 10)
    assert (one.score_before, one.score_after) == (0.925, 0.910)
    assert one.difference == pytest.approx(-0.015)
    assert one.interval_95.low == pytest.approx(-0.0277377, abs=5e-7)
    assert one.interval_95.high == pytest.approx(-0.0036029, abs=5e-7)
    assert one.p_mcnemar == pytest.approx(0.0166738, abs=5e-7)


def test_items_are_joined_by_hash_whatever_their_order() -> None:
    before, after = items("1101010011"), items("1100110011")
    straight = paired_benchmark(name="b", before=before, after=after)
    shuffled = paired_benchmark(name="b", before=before, after=after[::-1])
    assert straight == shuffled


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"doc_hash": "d1"}, "twice"),
        ({"doc_hash": "other"}, "one side only"),
        ({"prompt_hash": "other"}, "prompt"),
        ({"target_hash": "other"}, "target"),
    ],
)
def test_different_items_are_refused(change: dict[str, str], words: str) -> None:
    after = items("110")
    fields = {"doc_hash": "d0", "prompt_hash": "p0", "target_hash": "t0", "correct": True} | change
    after[0] = Item(**fields)  # type: ignore[arg-type]
    with pytest.raises(ComparisonError, match=words):
        paired_benchmark(name="b", before=items("110"), after=after)
    with pytest.raises(ComparisonError, match="no measurements"):
        paired_benchmark(name="b", before=[], after=[])


def test_other_token_counts_are_refused() -> None:
    before = [Document(doc_hash="a", nll_nats=10.0, tokens=5)]
    after = [Document(doc_hash="a", nll_nats=10.0, tokens=6)]
    with pytest.raises(ComparisonError, match="tokens"):
        paired_perplexity(domain="prose", before=before, after=after)


def test_a_checkpoint_against_itself_never_differs() -> None:
    same = items("10" * 30, margins=[0.5, -0.5] * 30)
    one = paired_benchmark(name="b", before=same, after=same)
    judged = verdict([one], [text([1.0] * 8)], Rule())
    assert judged.outcome == "retained"
    assert (one.lost, one.gained, one.difference) == (0, 0, 0.0)
    assert one.nats is not None and (one.nats.mean, one.nats.standard_error) == (0.0, 0.0)
    assert judged.perplexities[0].ratio == 1.0


def test_retained_forgotten_and_inconclusive() -> None:
    rule = Rule(gate_on="each", default_margin=0.03)
    assert verdict([compared(900, 25, 10, 65)], [], rule).outcome == "retained"
    assert verdict([compared(850, 80, 10, 60)], [], rule).outcome == "forgotten"
    judged = verdict([compared(8, 2, 1, 1)], [], rule)
    assert judged.outcome == "inconclusive"
    assert "about" in judged.reason and "12 items" in judged.reason
    assert judged.benchmarks[0].items_needed is not None
    assert judged.benchmarks[0].items_needed > 12


def test_few_items_without_any_change_are_still_inconclusive() -> None:
    judged = verdict([compared(8, 0, 0, 4)], [], Rule(gate_on="each"))
    assert judged.outcome == "inconclusive"
    assert judged.benchmarks[0].items_needed == 25


def test_small_benchmarks_do_not_block_the_pooled_gate() -> None:
    five = [compared(8, 0, 0, 4, name=f"b{i}") for i in range(5)]
    assert verdict(five, [], Rule(gate_on="each")).outcome == "inconclusive"
    judged = verdict(five, [], Rule(gate_on="pooled"))
    assert judged.outcome == "retained"
    assert judged.pooled is not None and judged.pooled.n == 60


def test_the_reason_names_the_guilty_benchmark_and_its_figures() -> None:
    rule = Rule(gate_on="each", default_margin=0.05)
    good, bad = compared(300, 1, 1, 60, name="good"), compared(150, 60, 5, 60, name="bad")
    judged = verdict([good, bad], [], rule, titles={"bad": "Python code"})
    assert judged.outcome == "forgotten"
    assert "Python code went from 76.4 % to 56.4 % of 275 items" in judged.reason
    assert "good" not in judged.reason


def test_pooled_loss_names_the_benchmark_that_lost_most() -> None:
    benchmarks = [compared(40, 7, 1, 2, name=name) for name in ("a", "c")]
    rule = Rule(pooled_margin=0.05, default_margin=0.3)
    judged = verdict([*benchmarks, compared(40, 8, 0, 2, name="b")], [], rule)
    assert judged.outcome == "forgotten"
    assert "forgotten" not in {one.outcome for one in judged.benchmarks}
    assert "The benchmark that lost most: b went from 96 % to 80 %" in judged.reason


def test_gains_elsewhere_do_not_hide_a_benchmark_that_was_forgotten() -> None:
    lost, gained = compared(0, 10, 0, 5, name="code"), compared(5, 0, 10, 0, name="sums")
    same = [compared(300, 0, 0, 100, name=name) for name in ("words", "facts")]
    judged = verdict([lost, gained, *same], [], Rule())
    assert judged.pooled is not None and judged.pooled.outcome == "retained"
    assert judged.outcome == "forgotten"
    assert "code went from 66.7 % to 0 % of 15 items" in judged.reason


def test_perplexity_outcomes() -> None:
    assert verdict([], [text([1.001, 0.999, 1.002, 1.0])], Rule()).outcome == "retained"
    risen = verdict([], [text([1.8, 2.0, 1.9, 1.95, 2.1])], Rule())
    assert risen.outcome == "forgotten"
    assert risen.reason == (
        "It forgot: perplexity rose by 94.7 % on prose (14.9 to 29), "
        "where a rise of 3 % is allowed."
    )
    unsure = verdict([], [text([0.9, 1.2, 1.05, 0.93])], Rule())
    assert unsure.outcome == "inconclusive"
    assert unsure.perplexities[0].documents_needed is not None
    assert unsure.perplexities[0].documents_needed > 4


def test_the_reason_says_what_is_allowed_once_and_never_minus_zero() -> None:
    texts = [text([0.99998] * 4), text([0.99, 0.9901, 0.9899, 0.99], "code")]
    judged = verdict([compared(120, 0, 0, 30)], texts, Rule(), titles={"bench": "all benchmarks"})
    assert judged.reason == (
        "It kept what it knew: all benchmarks stayed at 80 % of 150 items, "
        "where 10 points may be lost; perplexity stayed at 14.9 on prose (0.0 %) "
        "and fell by 1.0 % on code (14.9 to 14.7), where a rise of 3 % is allowed. "
        "Larger losses are ruled out with 95 % confidence."
    )


def test_one_document_is_inconclusive_and_nothing_is_too() -> None:
    assert "at least two" in verdict([], [text([1.0])], Rule()).reason
    assert verdict([], [], Rule()).outcome == "inconclusive"


def test_holm_counts_every_comparison_that_gates() -> None:
    benchmarks = [compared(200, 25, 10, 20, name=f"b{i}") for i in range(4)]
    judged = verdict(benchmarks, [], Rule(gate_on="each", default_margin=0.01))
    assert judged.benchmarks[0].p_loss == pytest.approx(0.0166738, abs=5e-7)
    assert judged.benchmarks[0].p_loss_holm == pytest.approx(4 * 0.0166738, abs=5e-6)


def test_clusters_widen_the_interval_and_raise_the_p() -> None:
    before, after = "1" * 60, "1" * 48 + "0" * 12
    alone, grouped = (
        benchmark_judge(
            paired_benchmark(
                name="b",
                before=items(before, per_cluster=size),
                after=items(after, per_cluster=size),
            ),
            margin=0.3,
        )
        for size in (0, 12)
    )
    assert grouped.interval_95.low < alone.interval_95.low
    assert grouped.p_non_inferior > alone.p_non_inferior
    judged = verdict([grouped], [], Rule(pooled_margin=0.3))
    assert judged.pooled is not None
    assert judged.pooled.p_non_inferior == pytest.approx(grouped.p_non_inferior)


def test_margin_change_in_nats() -> None:
    before = items("1111", margins=[1.0, 2.0, 3.0, 4.0])
    after = items("1111", margins=[0.5, 1.0, 3.0, 4.5])
    nats = paired_benchmark(name="b", before=before, after=after).nats
    assert nats is not None and nats.mean == pytest.approx(-0.25)
    assert nats.standard_error == pytest.approx(math.sqrt(1.25 / 12))


def test_margin_changes_of_items_that_share_a_source_and_of_all_benchmarks() -> None:
    moves = [1.0, 1.2, -0.4, -0.6, 0.3, 0.1]
    mean = sum(moves) / 6
    alone, grouped = (
        paired_benchmark(
            name=f"clusters of {size}",
            before=items("111111", [0.0] * 6, per_cluster=size),
            after=items("111111", moves, per_cluster=size),
        ).nats
        for size in (0, 2)
    )
    assert alone is not None and grouped is not None
    assert alone.mean == grouped.mean == pytest.approx(mean)
    sums = [moves[i] + moves[i + 1] - 2 * mean for i in (0, 2, 4)]
    by_hand = math.sqrt(sum(one**2 for one in sums)) / 6 * math.sqrt(3 / 2)
    assert grouped.standard_error == pytest.approx(by_hand)
    assert grouped.degrees_of_freedom == 2
    both = [
        paired_benchmark(
            name=name,
            before=items("111111", [0.0] * 6),
            after=items("111111", changed),
        )
        for name, changed in (("a", moves), ("b", [0.5] * 6))
    ]
    pooled = verdict(both, [], Rule()).pooled
    assert pooled is not None and pooled.nats is not None
    assert pooled.nats.mean == pytest.approx((mean + 0.5) / 2)
    assert pooled.nats.standard_error == pytest.approx((alone.standard_error or 0.0) / 2)
    assert pooled.nats.degrees_of_freedom == 10


def test_everything_is_plain_json() -> None:
    judged = verdict([compared(40, 3, 2, 15)], [text([1.0, 1.01]), text([1.0], "code")], Rule())
    record = json.loads(json.dumps(judged.to_json(), allow_nan=False))
    assert record["benchmarks"][0]["interval_95"]["low"] < 0
    assert record["perplexities"][1]["interval_95"] is None
    assert Rule.from_json(record["rule"]) == judged.rule


def test_a_rule_refuses_what_it_cannot_apply() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"alfa": 0.05}, "alfa"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": "abc"}, "alpha"),
        ({"gate_on": "some"}, "gate_on"),
        ({"margins": {"local_code": 2}}, "margins.local_code"),
        ({"margins": [1]}, "margins"),
        ({"perplexity_margin_ratio": 1.0}, "perplexity_margin_ratio"),
        ({"pooled_margin": float("nan")}, "pooled_margin"),
    ]
    for record, where in wrong:
        with pytest.raises(RuleError) as caught:
            Rule.from_json(record)
        assert caught.value.where == where


def test_the_anchor_has_a_larger_budget() -> None:
    anchored = Rule(margins={"b": 0.03}).against_anchor()
    assert anchored.pooled_margin == pytest.approx(0.2)
    assert anchored.margin_for("b") == pytest.approx(0.06)
    assert anchored.perplexity_margin_ratio == pytest.approx(1.03**2)


@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 20))
@settings(deadline=None, max_examples=60)
def test_swapping_before_and_after_flips_signs(kept: int, lost: int, gained: int) -> None:
    if kept + lost + gained == 0:
        return
    forward, backward = compared(kept, lost, gained), compared(kept, gained, lost)
    assert forward.difference == -backward.difference
    assert forward.interval_90.low == pytest.approx(-backward.interval_90.high, abs=1e-7)
    assert forward.p_mcnemar == backward.p_mcnemar


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=10))
@example([1.03, 1.03])  # exactly at the margin, and no spread: a last bit must not decide
@settings(deadline=None, max_examples=60)
def test_an_outcome_always_agrees_with_its_interval(factors: list[float]) -> None:
    one = verdict([], [text(factors)], Rule()).perplexities[0]
    assert one.interval_90 is not None
    if one.outcome == "retained":
        assert one.interval_90.high <= 1.03 + 1e-9
    if one.outcome == "forgotten":
        assert one.ratio > 1.03
