"""A paired difference with its interval: what was measured twice, and what changed.

Nothing here is judged: whether a difference is too much, a rule says (`comparison`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from evaluation.judging.statistics import Interval, MeanEstimate


@dataclass(frozen=True, kw_only=True)
class Item:
    """One benchmark item's outcome: a line of samples.jsonl, or the portal's row of it."""

    doc_hash: str
    prompt_hash: str
    target_hash: str
    correct: bool
    margin_nats: float | None = None
    """Log-likelihood of the right choice minus that of the best wrong one, where there is one."""
    cluster: str | None = None
    """What items of one source share (a text, a subtopic); None where items stand alone."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read one line of samples.jsonl; other fields are ignored."""
        return cls(
            doc_hash=record["doc_hash"],
            prompt_hash=record["prompt_hash"],
            target_hash=record["target_hash"],
            correct=bool(record["correct"]),
            margin_nats=record.get("margin_nats"),
            cluster=record.get("cluster"),
        )


@dataclass(frozen=True, kw_only=True)
class Document:
    """One held-out document's likelihood: a line of documents.jsonl."""

    doc_hash: str
    nll_nats: float
    tokens: int

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read one line of documents.jsonl; other fields are ignored."""
        return cls(
            doc_hash=record["doc_hash"],
            nll_nats=float(record["nll_nats"]),
            tokens=int(record["tokens"]),
        )


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What all paired differences share: after minus before, in the unit of the subclass."""

    interval_90: Interval | None
    """None where a single pair shows no spread."""
    interval_95: Interval | None


@dataclass(frozen=True, kw_only=True)
class PairedItems(Paired):
    """One benchmark's items before and after; differences are shares of the items."""

    name: str
    n: int
    lost: int
    """Items right before and wrong after (b)."""
    gained: int
    """Items wrong before and right after (c)."""
    correct_before: int
    interval_90: Interval
    """Of the difference."""
    interval_95: Interval
    clustered: MeanEstimate | None
    """Mean LOSS with its error over clusters; None where items stand alone."""
    nats: MeanEstimate | None
    """Mean change of the items' log-likelihood margin, nats; None where a margin is missing."""

    @property
    def score_before(self) -> float:
        """Share of items right before."""
        return self.correct_before / self.n

    @property
    def score_after(self) -> float:
        """Share of items right after."""
        return (self.correct_before - self.lost + self.gained) / self.n

    @property
    def difference(self) -> float:
        """After minus before, as a share of the items: negative is a loss."""
        return (self.gained - self.lost) / self.n


@dataclass(frozen=True, kw_only=True)
class PairedTexts(Paired):
    """One held-out set before and after. Ratios: after over before, above 1 is worse."""

    domain: str
    documents: int
    tokens: int
    perplexity_before: float
    perplexity_after: float
    log_ratio: MeanEstimate
    """Change of the mean likelihood in nats a token; its exponential is the ratio."""

    @property
    def ratio(self) -> float:
        """Perplexity after over perplexity before."""
        return math.exp(self.log_ratio.mean)
