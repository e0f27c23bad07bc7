"""Runs of words in a row as numbers: the same in every process, so that they can be kept."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.examples import Example

Runs = NDArray[np.uint64]
"""A number for each run of words."""
WORDS_MAX = 13
"""Words in a row that are no chance (Brown et al. 2020, appendix C)."""
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x100000001B3)
_REMEMBERED = 1 << 20


def words_of(text: str) -> list[str]:
    """The words of a text, lower case."""
    return _WORD.findall(text.lower())


class _Hashes(dict[str, int]):
    """A number for every word, worked out where it is asked for the first time."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "little")
        return value


_hash_of = _Hashes().__getitem__


def word_hashes(words: Sequence[str]) -> Runs:
    """A number for every word, shape (words,)."""
    return np.fromiter(map(_hash_of, words), dtype=np.uint64, count=len(words))


def runs_of(hashes: Runs, size: int = WORDS_MAX) -> Runs:
    """A number for every run of `size` words in a row, shape (words - size + 1,) or empty."""
    count = max(0, len(hashes) - size + 1)
    runs = np.zeros(count, dtype=np.uint64)
    for at in range(size):
        runs = runs * _FACTOR + hashes[at : at + count]
    return runs


def hits_in(runs: Runs, known: Runs) -> NDArray[np.intp]:
    """Places of runs that stand in `known`, which is sorted."""
    if not len(known):
        return np.empty(0, dtype=np.intp)
    places = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    return np.flatnonzero(known[places] == runs)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was said in one turn, ready to be looked up."""

    where: str
    """user, decision or assistant."""
    words: Sequence[str]
    hashes: Runs
    """A number for every word."""


def said_in(example: Example) -> list[Said]:
    """What people asked and what is answered; system prompts are not looked at."""
    said = []
    for turn in example.turns:
        if turn.role in ("user", "assistant", "text"):
            words = words_of(turn.content)
            where = "decision" if turn.train else turn.role
            said.append(Said(where=where, words=words, hashes=word_hashes(words)))
    return said
