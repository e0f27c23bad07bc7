"""What pages read of scored decisions: counts, the histogram, and the list from either end."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from corpus.scored import BIN_NATS, decisions_open
from ftportal.datasets.models import Batch
from ftportal.datasets.preview import decision_texts
from ftportal.learnability.models import Learnability
from ftportal.pages.bar_charts import Bar, bar_chart
from ftportal.pages.charts import Chart

UNLIKELY_NATS = -4.0
"""Less than one chance in 55 a token: what is below that on average is usually broken."""
LIKELY_NATS = -0.05
"""More than 95 chances in 100 a token: the model says this by itself."""


@dataclass(frozen=True, kw_only=True)
class ScoredDecision:
    """One decision for the list."""

    line: int
    sha256: str
    is_held_out: bool
    number: int
    """Its place among the example's decisions, from 1."""
    tokens: int
    mean_nats: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the scores of a batch say as a whole."""

    count: int
    unlikely: int
    likely: int
    chart: Chart


def learnability_list(batch: Batch) -> list[Learnability]:
    """All scorings of a batch, the newest first."""
    return list(batch.learnability.select_related("checkpoint", "job").order_by("-created_at"))


def scores_of(learnability: Learnability) -> Scores | None:
    """The counts and the histogram; None where the file is gone."""
    if not learnability.path.is_file():
        return None
    values = decisions_open(learnability.path)["mean_nats"]
    return Scores(
        count=len(values),
        unlikely=int(np.searchsorted(values, UNLIKELY_NATS)),
        likely=len(values) - int(np.searchsorted(values, LIKELY_NATS, side="right")),
        chart=_chart(learnability.summary["histogram"]),
    )


def _chart(histogram: dict[str, int]) -> Chart:
    lowers = sorted(float(lower) for lower in histogram)
    bars = [
        Bar(
            label=f"{lower:g}",
            count=histogram[f"{lower:g}"],
            is_marked=UNLIKELY_NATS <= lower < -BIN_NATS,
        )
        for lower in lowers
    ]
    return bar_chart(
        title="Likelihood of the decisions",
        x_label="nats a token, from",
        y_label="decisions",
        bars=bars,
        caption="Mean log-likelihood a token, under the checkpoint. Pale: below "
        f"{UNLIKELY_NATS:g}, and the likeliest.",
    )


class ScoredDecisions(Sequence[ScoredDecision]):
    """The decisions of a batch by their likelihood; slices are read when they are asked for."""

    def __init__(self, learnability: Learnability, *, likeliest_first: bool = False) -> None:
        self._batch = learnability.batch
        there = learnability.path.is_file() and self._batch.examples_path.is_file()
        self._table: Any = decisions_open(learnability.path) if there else []
        if likeliest_first:
            self._table = self._table[::-1]

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, at: int) -> ScoredDecision: ...
    @overload
    def __getitem__(self, at: slice) -> list[ScoredDecision]: ...
    def __getitem__(self, at: int | slice) -> ScoredDecision | list[ScoredDecision]:
        if isinstance(at, slice):
            return list(self._read(self._table[at].tolist()))
        return next(self._read([self._table[at].tolist()]))

    def _read(self, rows: list[tuple[int, int, int, int, float]]) -> Iterator[ScoredDecision]:
        records = []
        with self._batch.examples_path.open("rb") as file:
            for offset, *_ in rows:
                file.seek(offset)
                records.append(json.loads(file.readline()))
        decisions = [(record, row[2]) for record, row in zip(records, rows, strict=True)]
        texts = decision_texts(self._batch, decisions)
        for record, row, text in zip(records, rows, texts, strict=True):
            _, _, decision, tokens, mean_nats = row
            yield ScoredDecision(
                line=record["line"],
                sha256=record["sha256"],
                is_held_out=record["held_out"],
                number=decision + 1,
                tokens=tokens,
                mean_nats=mean_nats,
                text=text,
            )


def examples_beyond(
    learnability: Learnability, *, below: float | None, above: float | None
) -> list[str]:
    """Hashes of the examples with a decision less likely than `below`, or all likelier than
    `above`, in nats a token."""
    scores: dict[int, list[float]] = defaultdict(list)
    for offset, _, _, _, mean_nats in decisions_open(learnability.path).tolist():
        scores[offset].append(mean_nats)
    beyond = [
        offset
        for offset, means in scores.items()
        if (below is not None and min(means) < below) or (above is not None and min(means) > above)
    ]
    hashes: dict[str, None] = {}
    with learnability.batch.examples_path.open("rb") as file:
        for offset in sorted(beyond):
            file.seek(offset)
            hashes[json.loads(file.readline())["sha256"]] = None
    return list(hashes)
