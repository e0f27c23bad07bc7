"""Diagnostics stay within their share of the time."""

import pytest

from training.measures.budget import Budget


class Watch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost_seconds", [0.01, 1.0, 30.0])
def test_measurements_take_at_most_their_share(cost_seconds: float) -> None:
    watch = Watch()
    budget = Budget(share=0.05, clock=watch)
    for step in range(1, 2001):
        watch.now += 1.0
        if budget.due(step):
            with budget.measuring():
                watch.now += cost_seconds
    assert budget.seconds == pytest.approx(budget.count * cost_seconds)
    assert budget.seconds <= 0.05 * watch.now + cost_seconds  # the first one is on credit
    if cost_seconds > 0.1:
        assert budget.seconds > 0.04 * watch.now
    else:
        assert budget.count == 2000


def test_only_the_first_step_and_multiples_are_due() -> None:
    budget = Budget(every_steps=5, clock=Watch())
    assert [step for step in range(1, 16) if budget.due(step)] == [1, 5, 10, 15]


def test_what_cannot_pay_within_the_session_is_never_due() -> None:
    budget = Budget(share=0.05, clock=Watch())
    assert not budget.due(1, expected_seconds=6.0, session_seconds=100.0)
    assert budget.due(1, expected_seconds=4.0, session_seconds=100.0)
    assert budget.due(1, expected_seconds=4.0)  # nothing is known of the session


def test_a_measurement_that_fails_still_counts() -> None:
    watch = Watch()
    budget = Budget(share=0.5, clock=watch)
    with pytest.raises(RuntimeError), budget.measuring():
        watch.now += 3.0
        raise RuntimeError
    assert budget.seconds == 3.0
    watch.now += 5.9
    assert not budget.due(2)
    watch.now += 0.2
    assert budget.due(2)
