"""What sessions cost, summed up by the database: for lists of many, where intervals would drown."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Q, Sum

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.selectors.measurements import (
    evaluations_by_checkpoint,
    suite_in_common,
    tokenizers,
)
from ftportal.evaluations.models import DocumentLoss, Sample

ANSWERS = "right answers"


@dataclass(frozen=True, kw_only=True)
class Totals:
    """One evaluation summed up."""

    items: int = 0
    correct: int = 0
    nll_nats_per_token: dict[str, float] = field(default_factory=dict)
    """By the domain of the held-out text."""
    tokenizer: str | None = None
    """Hash of the file that made the tokens; None where it is not known."""

    def tokens_differ(self, other: "Totals") -> bool:
        """Whether the two read texts with different tokenizers, so that tokens do not compare."""
        return None not in (self.tokenizer, other.tokenizer) and self.tokenizer != other.tokenizer


@dataclass(frozen=True, kw_only=True)
class CostPart:
    """One change between two measured checkpoints."""

    name: str
    value: float
    unit: str
    is_beyond: bool
    """Whether it is worse than the suite's rule allows; a verdict also asks how sure that is."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What changed from one checkpoint to another: perplexity by domain, then right answers."""

    parts: Sequence[CostPart]

    @property
    def answers(self) -> CostPart | None:
        """The change of the right answers over all items."""
        return next((part for part in self.parts if part.name == ANSWERS), None)

    @property
    def texts(self) -> Sequence[CostPart]:
        """The changes of perplexity."""
        return [part for part in self.parts if part.name != ANSWERS]


def costs(
    pairs: Sequence[tuple[Checkpoint, Checkpoint]],
) -> dict[tuple[int, int], Cost | None]:
    """(before, after) -> what changed, by the suite that measured most of these checkpoints.

    None where a side is not measured by it. A fixed number of queries.
    """
    wanted = {one.pk for pair in pairs for one in pair}
    suite = suite_in_common(wanted)
    if suite is None:
        return {(before.pk, after.pk): None for before, after in pairs}
    evaluation_of = evaluations_by_checkpoint(wanted, suite)
    summed = _totals(evaluation_of.values())
    rule = Rule.from_json(suite.rule.rule)
    by_pair: dict[tuple[int, int], Cost | None] = {}
    for before, after in pairs:
        cumulative = before.is_pretrained and after.depth > 1
        by_pair[before.pk, after.pk] = _cost(
            summed.get(evaluation_of.get(before.pk, 0)),
            summed.get(evaluation_of.get(after.pk, 0)),
            rule.against_anchor() if cumulative else rule,
        )
    return by_pair


def _totals(evaluation_ids: Collection[int]) -> dict[int, Totals]:
    """Evaluation -> items right of all, mean likelihood by domain."""
    counts = {
        row["evaluation_id"]: (row["items"], row["right"])
        for row in Sample.objects.filter(evaluation__in=evaluation_ids)
        .order_by()
        .values("evaluation_id")
        .annotate(items=Count("pk"), right=Count("pk", filter=Q(correct=True)))
    }
    texts: dict[int, dict[str, float]] = defaultdict(dict)
    rows = (
        DocumentLoss.objects.filter(evaluation__in=evaluation_ids)
        .order_by()
        .values_list("evaluation_id", "held_out_set__domain")
        .annotate(nll=Sum("nll_nats"), token_count=Sum("tokens"))
    )
    for pk, domain, nll, token_count in rows:
        texts[pk][domain] = nll / token_count
    tokenizer_of = tokenizers(evaluation_ids)
    return {
        pk: Totals(
            items=counts.get(pk, (0, 0))[0],
            correct=counts.get(pk, (0, 0))[1],
            nll_nats_per_token=dict(sorted(texts[pk].items())),
            tokenizer=tokenizer_of.get(pk),
        )
        for pk in evaluation_ids
    }


def _cost(before: Totals | None, after: Totals | None, rule: Rule) -> Cost | None:
    if before is None or after is None:
        return None
    parts = []
    for domain, value in after.nll_nats_per_token.items():
        if domain in before.nll_nats_per_token and not before.tokens_differ(after):
            ratio = math.exp(value - before.nll_nats_per_token[domain])
            beyond = ratio > rule.perplexity_margin_ratio
            parts.append(CostPart(name=domain, value=100 * (ratio - 1), unit="%", is_beyond=beyond))
    if before.items and before.items == after.items:
        share = (after.correct - before.correct) / after.items
        beyond = share < -rule.pooled_margin
        parts.append(CostPart(name=ANSWERS, value=100 * share, unit="points", is_beyond=beyond))
    return Cost(parts=parts)
