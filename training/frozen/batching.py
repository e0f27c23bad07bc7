"""Which conversations of a step are walked side by side. No torch here."""

import math
from collections.abc import Sequence

from training.config import USUAL_TOKENS_TOGETHER, RunConfig
from training.frozen.stretches import Stretch, padded_arithmetic, stretches
from training.samples import Sample

_WASTE_MAX = 1.25
"""Pads may make a group this many times as costly as its conversations alone."""


def conversations_group(
    samples: Sequence[Sample], config: RunConfig, *, can_pad: bool
) -> list[list[Sample]]:
    """Return the samples in groups of so many as the recipe allows, the longest first.

    can_pad: whether the model may see conversations of different lengths together; else only those
    whose decisions stand in the same places share a group. Where context gets gradient, pads follow
    everything else and do no harm to any model.
    """
    together = config.context.together(config.examples_per_step)
    tokens_most = math.inf
    if config.context.conversations_at_once is None:
        tokens_most = USUAL_TOKENS_TOGETHER
    if together == 1:
        return [[sample] for sample in samples]
    rows = [_row(sample, config) for sample in samples]
    can_pad = can_pad or not config.context_frozen
    order = sorted(range(len(samples)), key=lambda index: _size(rows[index]), reverse=True)
    groups: list[list[int]] = []
    for index in order:
        within = groups and len(groups[-1]) < together
        within = within and _tokens([rows[one] for one in (*groups[-1], index)]) <= tokens_most
        if within and _fits([rows[one] for one in groups[-1]], rows[index], can_pad):
            groups[-1].append(index)
        else:
            groups.append([index])
    return [[samples[index] for index in group] for group in groups]


def _row(sample: Sample, config: RunConfig) -> list[Stretch]:
    if config.context_frozen:
        return stretches(sample.encoded, config.context.grad_window)
    parts = stretches(sample.encoded)
    return [Stretch(start=0, end=part.end, targets=part.targets) for part in parts[-1:]]


def _size(row: Sequence[Stretch]) -> tuple[int, ...]:
    """What neighbours should have in common: the number of decisions, then the lengths."""
    return (len(row), *(length for part in row for length in (part.start, part.end)))


def _tokens(rows: Sequence[Sequence[Stretch]]) -> int:
    """Tokens that are read, as if all were as long as the longest."""
    return len(rows) * max((row[-1].end for row in rows if row), default=0)


def _fits(group: Sequence[Sequence[Stretch]], row: Sequence[Stretch], can_pad: bool) -> bool:
    """Whether a conversation may join a group by its lengths."""
    if not can_pad:
        return _size(group[0]) == _size(row)
    wanted = [*group, row]
    alone = sum(padded_arithmetic([one]) for one in wanted)
    return padded_arithmetic(wanted) <= _WASTE_MAX * alone
