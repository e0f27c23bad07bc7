"""Stored measurements of checkpoints, and the paired changes between two of them."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from django.db.models import Count

from evaluation.judging import statistics
from evaluation.judging.paired import Document, Item, PairedItems
from evaluation.judging.pairing import (
    ComparisonError,
    benchmark_pooled,
    paired_benchmark,
    paired_perplexity,
)
from evaluation.judging.verdict import POOLED_NAME
from ftportal.evaluations.models import DocumentLoss, Evaluation, Sample, Suite

# Differences are shown here and judged by verdicts: neither margin nor alpha moves an interval.
_MARGIN, _MARGIN_RATIO, _ALPHA = 0.5, 2.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Change:
    """After minus before with its 95 % interval, or why there is none.

    Accuracy: shares of the items. Perplexity: relative change (0.02 is two percent more). Bits a
    byte: bits. `low` and `high` are None where one observation leaves no spread to estimate.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    lost: int | None = None
    gained: int | None = None
    why_missing: str = ""

    @property
    def hundredths(self) -> dict[str, float | None]:
        """value, low and high in points of 100 answers, or in percent of perplexity."""
        shares = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if share is None else 100 * share for name, share in shares.items()}

    def tone(self, *, higher_is_better: bool, allowed: float | None) -> str:
        """Empty unless the whole interval lies on one side of zero; then good, warn or bad.

        warn is worse by no more than `allowed`, in the unit of `value`; None allows nothing.
        """
        if self.value is None or self.low is None or self.high is None:
            return ""
        if self.low <= 0 <= self.high:
            return ""
        if (self.low > 0) == higher_is_better:
            return "good"
        return "warn" if allowed is not None and abs(self.value) <= allowed else "bad"

    @classmethod
    def of_benchmark(cls, pair: PairedItems) -> Self:
        """The change that a paired comparison of items found."""
        return cls(
            value=pair.difference,
            low=pair.interval_95.low,
            high=pair.interval_95.high,
            lost=pair.lost,
            gained=pair.gained,
        )


@dataclass(frozen=True, kw_only=True)
class Text(Document):
    """One held-out document as one checkpoint read it."""

    bytes: int


@dataclass(kw_only=True)
class Measurement:
    """Everything one evaluation stored, by benchmark and by the name of the held-out set."""

    items: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[str, list[Text]] = field(default_factory=lambda: defaultdict(list))


def suite_in_common(checkpoint_ids: Collection[int]) -> Suite | None:
    """The suite that measured most of these checkpoints; the default one, then the newest."""
    return (
        Suite.objects.filter(evaluations__checkpoint__in=checkpoint_ids, evaluations__measured=True)
        .annotate(measured_count=Count("evaluations"))
        .order_by("-measured_count", "-is_default", "-pk")
        .first()
    )


def evaluations_by_checkpoint(
    checkpoint_ids: Collection[int], suite: Suite | None
) -> dict[int, int]:
    """Checkpoint -> its measured evaluation by the suite's content, both by primary key."""
    if suite is None:
        return {}
    evaluations = Evaluation.objects.filter(
        checkpoint__in=checkpoint_ids, suite__content_hash=suite.content_hash, measured=True
    )
    return dict(evaluations.order_by("-pk").values_list("checkpoint_id", "pk"))


def tokenizers(evaluation_ids: Collection[int]) -> dict[int, str]:
    """Evaluation -> hash of the tokenizer that it read texts with, where the engine said so."""
    evaluations = Evaluation.objects.filter(pk__in=evaluation_ids)
    hashes = dict(evaluations.order_by().values_list("pk", "settings__tokenizer_sha256"))
    return {pk: value for pk, value in hashes.items() if value}


def measurements(evaluation_ids: Collection[int]) -> dict[int, Measurement]:
    """The measurements of these evaluations, in two queries."""
    by_evaluation: dict[int, Measurement] = {pk: Measurement() for pk in evaluation_ids}
    samples = Sample.objects.filter(evaluation__in=evaluation_ids).order_by("pk")
    for pk, benchmark, doc, prompt, target, correct, cluster in samples.values_list(
        "evaluation_id",
        "benchmark",
        "doc_hash",
        "prompt_hash",
        "target_hash",
        "correct",
        "cluster",
    ):
        item = Item(
            doc_hash=doc,
            prompt_hash=prompt,
            target_hash=target,
            correct=correct,
            cluster=cluster or None,
        )
        by_evaluation[pk].items[benchmark].append(item)
    losses = DocumentLoss.objects.filter(evaluation__in=evaluation_ids).order_by("pk")
    for pk, name, doc, nll, tokens, size in losses.values_list(
        "evaluation_id", "held_out_set__name", "doc_hash", "nll_nats", "tokens", "bytes"
    ):
        text = Text(doc_hash=doc, nll_nats=nll, tokens=tokens, bytes=size)
        by_evaluation[pk].texts[name].append(text)
    return by_evaluation


def accuracy(measured: Measurement, benchmark: str = "") -> float | None:
    """Share of items right on one benchmark, or over all together; None without items."""
    items = (
        measured.items.get(benchmark, [])
        if benchmark
        else [item for of_one in measured.items.values() for item in of_one]
    )
    return sum(item.correct for item in items) / len(items) if items else None


def perplexity_per_token(texts: Sequence[Text]) -> float | None:
    """exp of the mean negative log-likelihood a token, over all documents' tokens."""
    tokens = sum(text.tokens for text in texts)
    return math.exp(sum(text.nll_nats for text in texts) / tokens) if tokens else None


def bits_per_byte(texts: Sequence[Text]) -> float | None:
    """Negative log-likelihood in bits over bytes: comparable across tokenizers."""
    size = sum(text.bytes for text in texts)
    return sum(text.nll_nats for text in texts) / math.log(2) / size if size else None


def accuracy_change(before: Measurement, after: Measurement, benchmark: str = "") -> Change:
    """Paired difference of accuracy on one benchmark, or over all together.

    Where items share a source, the clustered interval widens it as it does for verdicts.
    """
    names = [benchmark] if benchmark else names_in_order([before.items, after.items])
    try:
        pairs = [
            paired_benchmark(
                name=name,
                before=before.items.get(name, []),
                after=after.items.get(name, []),
            )
            for name in names
        ]
    except ComparisonError as problem:
        return Change(why_missing=str(problem))
    if not pairs:
        return Change(why_missing="No benchmark was measured.")
    if benchmark:
        return Change.of_benchmark(pairs[0])
    pooled = benchmark_pooled(name=POOLED_NAME, benchmarks=pairs)
    return Change.of_benchmark(pooled)


def perplexity_change(before: Measurement, after: Measurement, name: str) -> Change:
    """Relative change of perplexity a token on one held-out set, documents paired by hash."""
    try:
        pair = paired_perplexity(
            domain=name,
            before=before.texts.get(name, []),
            after=after.texts.get(name, []),
        )
    except ComparisonError as problem:
        return Change(why_missing=str(problem))
    bounds = pair.interval_95
    return Change(
        value=pair.ratio - 1,
        low=bounds.low - 1 if bounds else None,
        high=bounds.high - 1 if bounds else None,
    )


def bits_change(before: Measurement, after: Measurement, name: str) -> Change:
    """Difference in bits a byte on one held-out set: the perplexity's estimate, over bytes."""
    texts = before.texts.get(name, [])
    partners = {text.doc_hash: text for text in after.texts.get(name, [])}
    if not texts or not partners:
        return Change(why_missing=f"{name}: one side has no measurements; measure it first.")
    if {(t.doc_hash, t.bytes) for t in texts} != {(t.doc_hash, t.bytes) for t in partners.values()}:
        return Change(why_missing=f"{name}: not the same text on both sides; measure it again.")
    estimate = statistics.log_perplexity_ratio(
        [text.nll_nats for text in texts],
        [partners[text.doc_hash].nll_nats for text in texts],
        [text.bytes for text in texts],
    )
    bounds = estimate.interval(0.95)
    return Change(
        value=estimate.mean / math.log(2),
        low=bounds.low / math.log(2) if bounds else None,
        high=bounds.high / math.log(2) if bounds else None,
    )


def names_in_order(measured: Iterable[Mapping[str, object]]) -> list[str]:
    """All keys of several mappings, each once, in the order they first appear."""
    return list(dict.fromkeys(name for one in measured for name in one))
