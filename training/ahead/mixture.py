"""Which example is learnt when: a seeded order over all epochs that a resumed run repeats.

No torch here: the portal counts steps with this module.
"""

import random
from collections.abc import Iterator, Sequence


def mixture_counts(example_counts: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Return how many examples each batch gives in one epoch.

    An epoch has as many examples as the batches together; batch i gives round(total × share_i) of
    them, but at least one, for a batch that was chosen is never silently left out.
    """
    total, weight_sum = sum(example_counts), sum(weights)
    return [max(1, round(total * weight / weight_sum)) for weight in weights]


def step_count(
    example_counts: Sequence[int],
    weights: Sequence[float],
    *,
    epochs: int,
    examples_per_step: int,
    max_steps: int | None = None,
) -> int:
    """Return how many steps a run takes; the last one may have fewer examples."""
    examples = sum(mixture_counts(example_counts, weights)) * epochs
    steps = -(-examples // examples_per_step)
    return steps if max_steps is None else min(steps, max_steps)


def _endless(count: int, generator: random.Random) -> Iterator[int]:
    """Yield 0..count-1 in shuffled order, shuffled again whenever all were given."""
    while True:
        order = list(range(count))
        generator.shuffle(order)
        yield from order


def example_order(
    example_counts: Sequence[int], weights: Sequence[float], *, epochs: int, seed: int
) -> list[tuple[int, int]]:
    """Return (batch index, example index) in the order of training, over all epochs.

    Each batch is drawn without replacement until it is exhausted, then from the start,
    over epoch borders.
    The same arguments always give the same order.
    """
    draws = [
        _endless(count, random.Random(f"{seed}/{index}"))  # noqa: S311, an order and no secret
        for index, count in enumerate(example_counts)
    ]
    mixer = random.Random(f"{seed}/mixture")  # noqa: S311
    order: list[tuple[int, int]] = []
    counts = mixture_counts(example_counts, weights)
    for _ in range(epochs):
        epoch = [(i, next(draws[i])) for i, count in enumerate(counts) for _ in range(count)]
        mixer.shuffle(epoch)
        order.extend(epoch)
    return order
