"""Two answers, word against word: what of each the other one does not have."""

import re
from collections.abc import Sequence

import numpy as np
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

COMPARED_MAX_WORDS = 4000
"""Longer answers are not compared: the time goes with the product of their words."""
_ISLAND_WORDS = 2
"""So few equal words between two differences are chance, and marked with them."""


def differences(left: str, right: str) -> tuple[SafeString, SafeString] | None:
    """Both texts as they were written, with marks around the words that the other one lacks.

    None where they are too long to be compared.
    """
    a, b = left.split(), right.split()
    if max(len(a), len(b)) > COMPARED_MAX_WORDS:
        return None
    pairs = _common(a, b)
    in_left, in_right = set(pairs), set(pairs.values())
    return (
        _marked(left, [i in in_left for i in range(len(a))]),
        _marked(right, [j in in_right for j in range(len(b))]),
    )


def _common(a: Sequence[str], b: Sequence[str]) -> dict[int, int]:
    """Which words of `a` are which of `b`, in their order: {index in a: index in b}."""
    begin = 0
    while begin < min(len(a), len(b)) and a[begin] == b[begin]:
        begin += 1
    end = 0
    while end < min(len(a), len(b)) - begin and a[-1 - end] == b[-1 - end]:
        end += 1
    pairs = {i: i for i in range(begin)}
    middle = _longest_common(a[begin : len(a) - end], b[begin : len(b) - end])
    pairs |= {begin + i: begin + j for i, j in _without_islands(middle)}
    pairs |= {len(a) - 1 - n: len(b) - 1 - n for n in range(end)}
    return pairs


def _longest_common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The longest common subsequence, as pairs of indices.

    Row by row with NumPy: its time depends on the lengths alone, where a diff by search takes the
    square or more over answers that repeat themselves, as small models' do.
    """
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*a, *b)))}
    right = np.array([numbers[word] for word in b], dtype=np.int32)
    lengths = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int16)
    for i, word in enumerate(a, start=1):
        equal = right == numbers[word]
        best = np.maximum(lengths[i - 1, 1:], lengths[i - 1, :-1] + equal)
        lengths[i, 1:] = np.maximum.accumulate(best)
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if lengths[i, j] == lengths[i - 1, j]:
            i -= 1
        elif lengths[i, j] == lengths[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _without_islands(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    runs: list[list[tuple[int, int]]] = []
    for pair in pairs:
        if runs and runs[-1][-1] == (pair[0] - 1, pair[1] - 1):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    return [pair for run in runs if len(run) > _ISLAND_WORDS for pair in run]


def _marked(text: str, is_kept: Sequence[bool]) -> SafeString:
    """The text with a <mark> around every run of words that is not kept."""
    pieces: list[str] = []
    begin = end = None  # of the run of words that differ
    last = 0
    for number, word in enumerate(re.finditer(r"\S+", text)):
        if is_kept[number]:
            if begin is not None:
                pieces += [escape(text[last:begin]), _mark(text[begin:end])]
                last, begin = end or 0, None
        else:
            begin = word.start() if begin is None else begin
            end = word.end()
    if begin is not None:
        pieces += [escape(text[last:begin]), _mark(text[begin:end])]
        last = end or 0
    pieces.append(escape(text[last:]))
    return mark_safe("".join(pieces))  # noqa: S308 - every piece is escaped


def _mark(text: str) -> str:
    return f'<mark class="differs">{escape(text)}</mark>'
