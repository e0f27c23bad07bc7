"""Which conversations of a step are walked side by side. No torch here."""

from collections.abc import Sequence

from training.config import RunConfig
from training.frozen.stretches import Stretch, padded_arithmetic, stretches
from training.samples import Sample

_WASTE_MAX = 1.25
"""Pads may make a group this many times as costly as its conversations alone."""


def conversations_group(
    samples: Sequence[Sample], config: RunConfig, *, can_pad: bool
) -> list[list[Sample]]:
    """Return the samples in groups of at most `conversations_at_once`, the longest first.

    can_pad: whether the model may see conversations of different lengths together; else only those
    whose decisions stand in the same places share a group. Where context gets gradient, pads follow
    everything else and do no harm to any model.
    """
    together = config.context.conversations_at_once
    if together == 1:
        return [[sample] for sample in samples]
    rows = [_row(sample, config) for sample in samples]
    can_pad = can_pad or not config.context_frozen
    order = sorted(range(len(samples)), key=lambda index: _size(rows[index]), reverse=True)
    groups: list[list[int]] = []
    for index in order:
        if groups and _fits(groups[-1], index, rows, together, can_pad):
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


def _fits(
    group: Sequence[int],
    index: int,
    rows: Sequence[Sequence[Stretch]],
    together: int,
    can_pad: bool,
) -> bool:
    if len(group) == together:
        return False
    if not can_pad:
        return _size(rows[group[0]]) == _size(rows[index])
    wanted = [rows[one] for one in (*group, index)]
    alone = sum(padded_arithmetic([row]) for row in wanted)
    return padded_arithmetic(wanted) <= _WASTE_MAX * alone
