"""What pages and runs read of mixtures: shares, totals, and the first examples in their order."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, OuterRef, QuerySet, Subquery

from corpus.ingestion import is_held_out_line
from ftportal.datasets.models import Batch
from ftportal.mixtures.models import Mixture, MixturePart, PartRole
from training.ahead.mixture import example_order, mixture_counts

FIRST_EXAMPLES = 50
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """One batch of a mixture and what an epoch takes of it."""

    part: MixturePart
    share: float
    """Of the examples, from 0 to 1."""
    drawn: int
    """Examples an epoch."""
    tokens: float
    """Context and decision tokens an epoch, by the batch's mean."""
    decision_tokens: float

    @property
    def times(self) -> float:
        """How often each of its examples comes in an epoch."""
        return self.drawn / max(1, self.part.batch.trained_count)


@dataclass(frozen=True, kw_only=True)
class FirstExample:
    """One of the examples that come first."""

    number: int
    batch: Batch
    line: int
    asked: str
    """The beginning of what stands before the answer."""
    answer: str
    """The beginning of its last turn."""


def mixture_list(*, text: str = "") -> QuerySet[Mixture]:
    """The newest version of every mixture, with `batch_count` and `run_count` over all versions."""
    newest = Mixture.objects.filter(name=OuterRef("name")).order_by("-version").values("pk")[:1]
    runs = (
        Mixture.objects.filter(name=OuterRef("name"))
        .order_by()
        .values("name")
        .annotate(n=Count("runs"))
        .values("n")
    )
    mixtures = Mixture.objects.filter(pk=Subquery(newest)).select_related(
        "language_model", "created_by"
    )
    mixtures = mixtures.annotate(
        batch_count=Count("parts", distinct=True), run_count=Subquery(runs)
    )
    return mixtures.filter(name__icontains=text) if text else mixtures


def mixture_versions(mixture: Mixture) -> list[Mixture]:
    """All versions, the newest first."""
    versions = Mixture.objects.filter(name=mixture.name).annotate(run_count=Count("runs"))
    return list(versions.order_by("-version"))


def parts_of(mixture: Mixture) -> list[MixturePart]:
    """The parts of a mixture in the order in which they were chosen, with their batches."""
    return list(mixture.parts.select_related("batch__language_model"))


def shares_of(mixture: Mixture, parts: Sequence[MixturePart]) -> list[float]:
    """Each part's share of the examples, adding up to one."""
    share_of = {
        PartRole.GENERAL: mixture.general_share,
        PartRole.REPLAY: mixture.replay_share,
        PartRole.NEW: 1 - mixture.general_share - mixture.replay_share,
    }
    totals: dict[str, float] = defaultdict(float)
    for part in parts:
        totals[part.role] += part.weight
    return [share_of[PartRole(part.role)] * part.weight / totals[part.role] for part in parts]


def weights_of(mixture: Mixture) -> dict[int, float]:
    """Batch -> its weight in a run that uses the mixture, in per cent of the examples."""
    parts = parts_of(mixture)
    shares = shares_of(mixture, parts)
    return {
        part.batch_id: float(f"{100 * share:.6g}")
        for part, share in zip(parts, shares, strict=True)
    }


def is_mixture(mixture: Mixture, weights: Mapping[int, float], seed: int) -> bool:
    """Whether a run of these weights and this seed draws what the mixture draws."""
    total = sum(weights.values())
    wanted = weights_of(mixture)
    return (
        seed == mixture.order_seed
        and weights.keys() == wanted.keys()
        and all(abs(weights[key] / total - wanted[key] / 100) < 1e-6 for key in wanted)
    )


def part_rows(mixture: Mixture) -> list[PartRow]:
    """What an epoch takes of each batch."""
    parts = parts_of(mixture)
    shares = shares_of(mixture, parts)
    drawn = mixture_counts([part.batch.trained_count for part in parts], shares)
    return [
        PartRow(
            part=part,
            share=share,
            drawn=count,
            tokens=count * _mean(part.batch, with_context=True),
            decision_tokens=count * _mean(part.batch, with_context=False),
        )
        for part, share, count in zip(parts, shares, drawn, strict=True)
    ]


def _mean(batch: Batch, *, with_context: bool) -> float:
    tokens = (batch.decision_token_count or 0) + with_context * (batch.context_token_count or 0)
    return tokens / max(1, batch.example_count or 0)


def first_examples(mixture: Mixture, count: int = FIRST_EXAMPLES) -> list[FirstExample]:
    """The examples that a run with the mixture's seed learns first, in their order.

    Of a batch whose file is gone none are shown.
    """
    parts = parts_of(mixture)
    order = example_order(
        [part.batch.trained_count for part in parts],
        shares_of(mixture, parts),
        epochs=1,
        seed=mixture.order_seed,
    )[:count]
    texts = {
        at: dict(_examples(part.batch, {index for part_at, index in order if part_at == at}))
        for at, part in enumerate(parts)
    }
    return [
        FirstExample(
            number=number,
            batch=parts[at].batch,
            line=texts[at][index][0],
            asked=texts[at][index][1],
            answer=texts[at][index][2],
        )
        for number, (at, index) in enumerate(order, start=1)
        if index in texts[at]
    ]


def _examples(batch: Batch, wanted: set[int]) -> Iterator[tuple[int, tuple[int, str, str]]]:
    """Of a batch's trained examples those at the wanted places: (line, asked, answer) each."""
    if not wanted or not batch.examples_path.is_file():
        return
    place, last = -1, max(wanted)
    with batch.examples_path.open("rb") as file:
        for line in file:
            if is_held_out_line(line):
                continue
            place += 1
            if place in wanted:
                record = json.loads(line)
                turns = record["turns"]
                asked = turns[-2]["content"] if len(turns) > 1 else ""
                yield place, (record["line"], _shown(asked), _shown(turns[-1]["content"]))
            if place >= last:
                return


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN_CHARACTERS else words[:_SHOWN_CHARACTERS] + "…"
