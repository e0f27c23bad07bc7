"""Scored decisions as files hold them: one record a decision, the least likely first. No torch."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DECISIONS_FILE = "decisions.npy"
RECORD = np.dtype(
    [
        ("offset", "<u8"),  # of the example's line in examples.jsonl, in bytes
        ("example", "<u4"),  # its place in the file, from 0
        ("decision", "<u4"),  # its place among the example's decisions, from 0
        ("tokens", "<u4"),  # learnt tokens
        ("mean_nats", "<f4"),  # mean of log p(token | all before it), at most 0
    ]
)
BIN_NATS = 0.25
_LAST_BIN_NATS = -10.0


def decisions_write(path: Path, records: list[tuple[int, int, int, int, float]]) -> None:
    """Write records in the order of RECORD, the least likely first."""
    table = np.array(records, dtype=RECORD)
    np.save(path, table[np.argsort(table["mean_nats"], kind="stable")])


def decisions_open(path: Path) -> NDArray[np.void]:
    """Open a file without reading it: slices are read when they are asked for."""
    table: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    return table


def bin_of(mean_nats: float) -> float:
    """The lower end of a value's bin; everything below -10 nats a token is one bin."""
    lower = math.floor(mean_nats / BIN_NATS) * BIN_NATS
    return max(_LAST_BIN_NATS, min(lower, -BIN_NATS))


def histogram_of(table: NDArray[np.void]) -> dict[str, int]:
    """Decisions by the lower end of their bin, in nats a token."""
    counts = Counter(bin_of(value) for value in table["mean_nats"].tolist())
    return {f"{lower:g}": counts[lower] for lower in sorted(counts)}
