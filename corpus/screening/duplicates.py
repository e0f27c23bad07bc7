"""Near duplicates by MinHash: which examples say almost the same, here and in earlier batches.

Sketches are rensa's; examples that share a band of them are candidates, and count as near
duplicates where enough of the whole sketches agrees (Broder 1997). The sketches are kept, so that
a later batch is held against this one without reading it again.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from corpus.examples import Example

PERMUTATIONS = 64
BANDS = 16
SIMILARITY = 0.8
"""Share of equal three-word shingles (Jaccard) from which on two examples are near duplicates."""
_SEED = 42
_SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+")

Sketches = NDArray[np.uint32]
"""Shape (examples, PERMUTATIONS)."""


def shingles(text: str) -> list[str]:
    """Every three words of a text, lower case; a shorter text is one shingle."""
    words = _WORD.findall(text.lower())
    count = max(1, len(words) - _SHINGLE_WORDS + 1)
    return [" ".join(words[at : at + _SHINGLE_WORDS]) for at in range(count)]


def text_of(example: Example) -> str:
    """What is compared of an example: all that was said but the system prompt."""
    return "\n".join(turn.content for turn in example.turns if turn.role != "system")


def sketch(texts: Sequence[str]) -> Sketches:
    """Return a sketch of each text."""
    if not texts:
        return np.empty((0, PERMUTATIONS), dtype=np.uint32)
    digests = RMinHash.digests_from_token_sets([shingles(t) for t in texts], PERMUTATIONS, _SEED)
    return np.array(digests, dtype=np.uint32)


def clusters(sketches: Sketches) -> list[list[int]]:
    """Groups of two or more examples that are near duplicates of one another, the largest first."""
    parents = list(range(len(sketches)))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = parents[parents[at]]
            at = parents[at]
        return at

    for first, second in _neighbours(sketches):
        if root(first) != root(second) and _agree(sketches[first], sketches[second]):
            parents[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for at in range(len(sketches)):
        groups.setdefault(root(at), []).append(at)
    return sorted((g for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))


def _neighbours(sketches: Sketches) -> Iterable[tuple[int, int]]:
    """Pairs that share a band: within a group of equal bands each with the one before it."""
    for band in _bands(sketches):
        order = np.argsort(band, kind="stable")
        same = np.flatnonzero(band[order][1:] == band[order][:-1])
        yield from zip(order[same].tolist(), order[same + 1].tolist(), strict=True)


def near_in(sketches: Sketches, earlier: Sketches) -> NDArray[np.bool_]:
    """Whether each example has a near duplicate among the earlier ones."""
    near = np.zeros(len(sketches), dtype=bool)
    for band, earlier_band in zip(_bands(sketches), _bands(earlier), strict=True):
        order = np.argsort(earlier_band, kind="stable")
        places = np.searchsorted(earlier_band[order], band)
        places = np.minimum(places, len(order) - 1)
        candidates = np.flatnonzero(~near & (earlier_band[order][places] == band))
        partners = order[places[candidates]]
        near[candidates] = _share(sketches[candidates], earlier[partners]) >= SIMILARITY
    return near


def _bands(sketches: Sketches) -> list[NDArray[np.uint64]]:
    """One number for each band of each sketch, shape (examples,) a band."""
    rows = PERMUTATIONS // BANDS
    wide = sketches.astype(np.uint64).reshape(len(sketches), BANDS, rows)
    mixed = np.zeros((len(sketches), BANDS), dtype=np.uint64)
    for at in range(rows):
        mixed = (mixed ^ wide[:, :, at]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return [mixed[:, at] for at in range(BANDS)]


def _share(one: Sketches, other: Sketches) -> NDArray[np.float64]:
    share: NDArray[np.float64] = (one == other).mean(axis=-1)
    return share


def _agree(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> bool:
    return float((one == other).mean()) >= SIMILARITY
