"""Held-out slices: the runs of words that only they have, to be found in other batches.

What a batch sets aside measures whether its session is remembered. A later batch that trains on the
same words would make it look remembered. Words that the batch itself trains on as well, such as the
phrases that an agent's every conversation begins with, measure nothing and are taken out.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from corpus.examples import Example
from corpus.screening.contamination import Overlap
from corpus.screening.runs import WORDS_MAX, Runs, Said, hits_in, runs_of, said_in

FILE = "held_out_runs.npy"
_HITS_MIN = 8
_SHARE_MIN = 0.5
"""A text overlaps a slice where so many of its runs, and this share of them, stand there: batches
of one agent share whole sentences by chance (measured: docs/results/ingestion.md)."""
_RUNS_MAX = 2_000_000
"""Runs that are kept of a slice, 16 MB; of a larger one every second or fourth, ... is."""


class SliceRuns:
    """Collects the runs of a batch's held-out examples, then takes out what it also trains on."""

    def __init__(self, held_out: Iterable[Example]) -> None:
        own, step = np.empty(0, dtype=np.uint64), np.uint64(1)
        waiting, count = [own], 0
        for example in held_out:
            runs = _runs(said_in(example))
            waiting.append(runs[runs % step == 0])
            count += len(waiting[-1])
            if count > _RUNS_MAX:
                own = np.unique(np.concatenate(waiting))
                while len(own) > _RUNS_MAX // 2:
                    step *= np.uint64(2)
                    own = own[own % step == 0]
                waiting, count = [own], len(own)
        self._own = np.unique(np.concatenate(waiting))
        self._is_trained = np.zeros(len(self._own), dtype=bool)

    def trained(self, said: Sequence[Said]) -> None:
        """Take out what is said in a trained example."""
        if len(self._own):
            runs = _runs(said)
            shared = runs[hits_in(runs, self._own)]
            self._is_trained[np.searchsorted(self._own, shared)] = True

    def save(self, path: Path) -> None:
        """Write what only the slice has."""
        np.save(path, self._own[~self._is_trained])


class SliceIndex:
    """The slices of earlier batches."""

    def __init__(self, batches: Sequence[tuple[str, Path]]) -> None:
        """batches: (name, directory) of each; one without a file of runs is passed over."""
        self._slices = [
            (name, np.load(directory / FILE, allow_pickle=False))
            for name, directory in batches
            if (directory / FILE).is_file()
        ]

    def overlap(self, said: Sequence[Said]) -> Overlap | None:
        """The first words of an example that stand in a slice; None where none do."""
        for one in said if self._slices else ():
            runs = runs_of(one.hashes)
            for name, known in self._slices:
                hits = hits_in(runs, known)
                if len(hits) >= max(_HITS_MIN, _SHARE_MIN * len(runs)):
                    excerpt = " ".join(one.words[hits[0] : hits[0] + WORDS_MAX])
                    return Overlap(where=one.where, name=name, excerpt=excerpt)
        return None


def _runs(said: Sequence[Said]) -> Runs:
    every = [runs_of(one.hashes) for one in said]
    return np.concatenate(every) if every else np.empty(0, dtype=np.uint64)
