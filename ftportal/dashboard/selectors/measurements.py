"""Stored measurements of checkpoints, and the paired changes between two of them."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count

from evaluation.judging import statistics
from evaluation.judging.paired import Document, Item
from ftportal.evaluations.models import DocumentLoss, Evaluation, Sample, Suite
from ftportal.evaluations.selectors.change import (
    Change,
    items_change,
    perplexity_change,
    pooled_change,
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
    if not benchmark:
        return pooled_change(before.items, after.items)
    return items_change(benchmark, before.items.get(benchmark, []), after.items.get(benchmark, []))


def text_change(before: Measurement, after: Measurement, name: str) -> Change:
    """Relative change of perplexity a token on one held-out set, documents paired by hash."""
    return perplexity_change(name, before.texts.get(name, []), after.texts.get(name, []))


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
    return Change.of_mean(estimate, 1 / math.log(2))


def names_in_order(measured: Iterable[Mapping[str, object]]) -> list[str]:
    """All keys of several mappings, each once, in the order they first appear."""
    return list(dict.fromkeys(name for one in measured for name in one))
