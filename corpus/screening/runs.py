"""Runs of words in a row as numbers: the same in every process, so that they can be kept."""

import hashlib
import re
from collections.abc import Iterator, Sequence

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
_hashes: dict[str, int] = {}


def words_of(text: str) -> list[str]:
    """The words of a text, lower case."""
    return _WORD.findall(text.lower())


def _hash(word: str) -> int:
    value = _hashes.get(word)
    if value is None:
        if len(_hashes) >= _REMEMBERED:
            _hashes.clear()
        digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
        value = _hashes[word] = int.from_bytes(digest, "little")
    return value


def word_hashes(words: Sequence[str]) -> Runs:
    """A number for every word, shape (words,)."""
    return np.fromiter(map(_hash, words), dtype=np.uint64, count=len(words))


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


def texts_of(example: Example) -> Iterator[tuple[str, str]]:
    """(where, text) of what people asked and what is answered; system prompts are not looked at."""
    for turn in example.turns:
        if turn.role in ("user", "assistant", "text"):
            yield ("decision" if turn.train else turn.role), turn.content
