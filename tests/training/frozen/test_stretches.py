"""Which tokens run with gradient, and what that costs, by hand."""

from dataclasses import replace

from tests.training.frozen.test_streaming import example
from training.frozen.stretches import Stretch, arithmetic, padded_arithmetic, stretches

ITEM = example((20, 30), (40, 55), length=60)


def test_a_stretch_begins_one_token_early_and_ends_before_its_last_target() -> None:
    first, second = stretches(ITEM)
    assert first == Stretch(start=19, end=29, targets=tuple(range(20, 30)))
    assert (second.start, second.end) == (39, 54)


def test_a_window_begins_so_many_tokens_before_the_decision() -> None:
    assert [part.start for part in stretches(ITEM, 1)] == [19, 39]
    assert [part.start for part in stretches(ITEM, 15)] == [5, 25]
    assert [part.start for part in stretches(ITEM, 100)] == [0, 0]


def test_targets_that_are_left_out_at_the_edges_are_context() -> None:
    item = replace(ITEM, left_out=frozenset([20, 21, 28, 29]))
    part = stretches(item)[0]
    assert (part.start, part.end, part.targets) == (21, 27, tuple(range(22, 28)))


def test_a_token_never_runs_alone() -> None:
    (part,) = stretches(example((20, 21)))
    assert (part.start, part.end) == (19, 21)
    (part,) = stretches(example((1, 2), length=2))
    assert (part.start, part.end) == (0, 2)


def test_arithmetic_counts_gradient_three_times() -> None:
    # 19 and 10 tokens are context, 10 and 15 run with gradient; the last 6 are never read.
    assert arithmetic(ITEM, context_frozen=True) == 19 + 3 * 10 + 10 + 3 * 15
    assert arithmetic(ITEM, context_frozen=False) == 3 * 54
    # With a window of 15: 5 context, 24 with gradient; the second goes back to 25.
    assert arithmetic(ITEM, context_frozen=True, grad_window=15) == 5 + 3 * 24 + 3 * 29
    assert arithmetic(replace(ITEM, left_out=frozenset(range(20, 30))), context_frozen=True) == (
        39 + 3 * 15
    )


def test_pads_cost_as_much_as_tokens() -> None:
    alone = [stretches(ITEM), stretches(example((10, 15), length=15))]
    assert padded_arithmetic([alone[0]]) == arithmetic(ITEM, context_frozen=True)
    together = 2 * (19 + 3 * 10) + (10 + 3 * 15)
    assert padded_arithmetic(alone) == together
    assert padded_arithmetic([]) == 0
