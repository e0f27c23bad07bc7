"""Contamination: texts of a batch that stand in what the model is measured by.

A decision or a user's text that shares thirteen words in a row with a benchmark item, a held-out
text or a prompt is named, as GPT-3 and others did it (Brown et al. 2020, appendix C); an item of
fewer words, down to eight, is found as a whole. System prompts are not looked at: they are shared
by thousands of examples and say nothing of what was asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from corpus.screening.runs import WORDS_MAX, Said, hits_in, runs_of, word_hashes, words_of

WORDS_MIN = 8
"""A shorter item is not looked for: phrases of a few words stand everywhere."""


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
            words = words_of(reference.text)
            size = min(WORDS_MAX, len(words))
            if size < WORDS_MIN:
                continue
            names = runs.setdefault(size, {})
            for key in runs_of(word_hashes(words), size).tolist():
                names.setdefault(key, reference.name)
        self._names = runs
        self._sorted = {
            size: np.sort(np.fromiter(names, dtype=np.uint64, count=len(names)))
            for size, names in runs.items()
        }

    def overlaps(self, said: Iterable[Said]) -> list[Overlap]:
        """What of an example stands in a reference: one overlap a turn at the most."""
        return [overlap for overlap in map(self._overlap, said) if overlap is not None]

    def _overlap(self, said: Said) -> Overlap | None:
        if len(said.words) < WORDS_MIN:
            return None
        for size, known in self._sorted.items():
            runs = runs_of(said.hashes, size)
            hits = hits_in(runs, known)
            if len(hits):
                at = int(hits[0])
                name = self._names[size][int(runs[at])]
                excerpt = " ".join(said.words[at : at + size])
                return Overlap(where=said.where, name=name, excerpt=excerpt)
        return None
