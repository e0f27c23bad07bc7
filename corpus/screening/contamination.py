"""Contamination: texts of a batch that stand in what the model is measured by.

A decision or a user's text that shares thirteen words in a row with a benchmark item, a held-out
text or a prompt is named, as GPT-3 and others did it (Brown et al. 2020, appendix C); an item of
fewer words, down to eight, is found as a whole. System prompts are not looked at: they are shared
by thousands of examples and say nothing of what was asked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.examples import Example

WORDS_MAX = 13
WORDS_MIN = 8
"""A shorter item is not looked for: phrases of a few words stand everywhere."""
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x100000001B3)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A text that measures: where it belongs, and what it says."""

    name: str
    """The benchmark, held-out set or prompt set, as pages call it."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Words of an example that stand in a reference."""

    where: str
    """user, decision or assistant."""
    name: str
    excerpt: str


class ContaminationIndex:
    """All runs of words of the references, by their length."""

    def __init__(self, references: Iterable[Reference]) -> None:
        runs: dict[int, dict[int, str]] = {}
        for reference in references:
            words = _WORD.findall(reference.text.lower())
            size = min(WORDS_MAX, len(words))
            if size < WORDS_MIN:
                continue
            names = runs.setdefault(size, {})
            for key in _runs(_hashes(words), size).tolist():
                names.setdefault(key, reference.name)
        self._names = runs
        self._sorted = {
            size: np.sort(np.fromiter(names, dtype=np.uint64, count=len(names)))
            for size, names in runs.items()
        }

    def overlaps(self, example: Example) -> list[Overlap]:
        """What of an example stands in a reference: one overlap a turn at the most."""
        overlaps = (self._overlap(where, text) for where, text in _texts(example))
        return [overlap for overlap in overlaps if overlap is not None]

    def _overlap(self, where: str, text: str) -> Overlap | None:
        words = _WORD.findall(text.lower())
        if len(words) < WORDS_MIN or not self._sorted:
            return None
        hashes = _hashes(words)
        for size, known in self._sorted.items():
            if len(words) < size:
                continue
            runs = _runs(hashes, size)
            places = np.minimum(np.searchsorted(known, runs), len(known) - 1)
            hits = np.flatnonzero(known[places] == runs)
            if len(hits):
                at = int(hits[0])
                name = self._names[size][int(runs[at])]
                return Overlap(where=where, name=name, excerpt=" ".join(words[at : at + size]))
        return None


def _texts(example: Example) -> Iterator[tuple[str, str]]:
    for turn in example.turns:
        if turn.role in ("user", "assistant", "text"):
            yield ("decision" if turn.train else turn.role), turn.content


def _hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    mask = (1 << 64) - 1
    return np.fromiter((hash(word) & mask for word in words), dtype=np.uint64, count=len(words))


def _runs(hashes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """A number for every run of `size` words in a row, shape (words - size + 1,)."""
    count = len(hashes) - size + 1
    runs = np.zeros(count, dtype=np.uint64)
    for at in range(size):
        runs = runs * _FACTOR + hashes[at : at + count]
    return runs
