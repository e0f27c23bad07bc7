"""Retention by batch: what a checkpoint still knows of each session that its lineage learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.judging import statistics
from evaluation.judging.paired import Document
from evaluation.judging.pairing import ComparisonError, paired_perplexity
from ftportal.blends.selectors import sessions_learned
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.evaluations.models import ExampleLoss, Retention, Suite
from ftportal.evaluations.selectors.measured import baselines
from ftportal.jobs.models import Job
from ftportal.runs.selectors import Learned

PINNED = ("dtype", "attention", "tokenizer_sha256")
"""What has to be the same on both sides; examples are measured one by one, so no batch size."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How the loss on a batch's held-out examples moved from one checkpoint to another."""

    since: Checkpoint
    loss_nats: float | None
    """Of the earlier one; None where it is not measured."""
    difference_nats: float | None = None
    """After minus before, nats a decision token: above 0 is worse."""
    low_nats: float | None = None
    high_nats: float | None = None
    """95 % interval, examples in pairs; None for a single example, whose spread nothing shows."""
    problem: str = ""
    """Why there is no difference although both were measured."""

    @property
    def word(self) -> str:
        """What the interval shows: worse, better or no clear change; empty without one."""
        if self.low_nats is None or self.high_nats is None:
            return ""
        if self.low_nats > 0:
            return "worse"
        return "better" if self.high_nats < 0 else "no clear change"


@dataclass(frozen=True, kw_only=True)
class RetentionRow:
    """One batch that the lineage has learned, as a checkpoint knows it now."""

    batch: Batch
    learned_by: Checkpoint
    """The last checkpoint of the lineage whose session learned it."""
    examples: int
    """Held-out examples measured."""
    tokens: int
    """Their decision tokens."""
    loss_nats: float | None
    """Mean loss a decision token now; None where `missing` says why."""
    missing: str = ""
    since_learned: Change | None = None
    """None where this checkpoint's own session learned it."""
    changes: Sequence[Change] = field(default_factory=list)
    """Since each baseline, in the order of `baselines`: the anchor, the parent, the champion."""

    def since(self, checkpoint: Checkpoint) -> Change | None:
        """The change since one of the baselines; None where it is none of them."""
        return next((one for one in self.changes if one.since == checkpoint), None)


def retention_rows(checkpoint: Checkpoint, suite: Suite) -> list[RetentionRow]:
    """A row for each batch that a checkpoint's lineage has learned, the last session's first.

    `suite` says which number format is looked at. The anchor has learned nothing: no rows.
    """
    # Sorting is stable: within a session the batches stay in the order of its mixture.
    learned = sorted(sessions_learned(checkpoint), key=lambda one: -one.checkpoint.depth)
    compared = baselines(checkpoint)
    sides = {checkpoint.pk, *(one.pk for one in compared), *(one.checkpoint.pk for one in learned)}
    measured = {
        (one.checkpoint_id, one.batch_id): one
        for one in Retention.objects.filter(
            checkpoint__in=sides,
            batch__in=[one.batch for one in learned],
            dtype=suite.settings["dtype"],
        ).select_related("job")
    }
    losses = _losses([one for one in measured.values() if one.measured])
    return [_row(checkpoint, one, compared, measured, losses) for one in learned]


_Found = dict[tuple[int, int], Retention]
_Losses = dict[int, list[Document]]


def _losses(measured: Sequence[Retention]) -> _Losses:
    """The examples of each retention by its key, in the order of their hashes."""
    losses: _Losses = {one.pk: [] for one in measured}
    rows = ExampleLoss.objects.filter(retention__in=losses).order_by("doc_hash")
    for key, doc_hash, nll_nats, tokens in rows.values_list(
        "retention", "doc_hash", "nll_nats", "tokens"
    ):
        losses[key].append(Document(doc_hash=doc_hash, nll_nats=nll_nats, tokens=tokens))
    return losses


def _row(
    checkpoint: Checkpoint,
    learned: Learned,
    compared: Sequence[Checkpoint],
    measured: _Found,
    losses: _Losses,
) -> RetentionRow:
    batch = learned.batch
    now = measured.get((checkpoint.pk, batch.pk))
    examples = losses.get(now.pk, []) if now else []

    def since(before: Checkpoint) -> Change:
        return _change(before, measured.get((before.pk, batch.pk)), now, losses)

    return RetentionRow(
        batch=batch,
        learned_by=learned.checkpoint,
        examples=len(examples),
        tokens=sum(one.tokens for one in examples),
        loss_nats=_mean_nats(examples),
        missing="" if examples else _why_missing(batch, now),
        since_learned=None if learned.checkpoint == checkpoint else since(learned.checkpoint),
        changes=[since(one) for one in compared],
    )


def _change(
    checkpoint: Checkpoint, before: Retention | None, now: Retention | None, losses: _Losses
) -> Change:
    earlier = losses.get(before.pk, []) if before else []
    later = losses.get(now.pk, []) if now else []
    loss = _mean_nats(earlier)
    if before is None or now is None or not earlier or not later:
        return Change(since=checkpoint, loss_nats=loss)
    for name in PINNED:
        if before.settings.get(name) != now.settings.get(name):
            problem = f"Measured with a different {name.replace('_', ' ')}: measure both alike."
            return Change(since=checkpoint, loss_nats=loss, problem=problem)
    try:
        pair = paired_perplexity(domain=f"session {now.batch_id}", before=earlier, after=later)
    except ComparisonError as error:
        return Change(since=checkpoint, loss_nats=loss, problem=str(error))
    interval = pair.log_ratio.interval(0.95)
    return Change(
        since=checkpoint,
        loss_nats=loss,
        difference_nats=pair.log_ratio.mean,
        low_nats=interval.low if interval else None,
        high_nats=interval.high if interval else None,
    )


def _mean_nats(examples: Sequence[Document]) -> float | None:
    if not examples:
        return None
    return statistics.log_perplexity_ratio(
        [0.0] * len(examples),
        [one.nll_nats for one in examples],
        [one.tokens for one in examples],
    ).mean


def _why_missing(batch: Batch, now: Retention | None) -> str:
    if not batch.held_out_count:
        return "The batch has so few examples that none was set aside."
    if now is None:
        return "Not measured yet."
    if now.problem:
        return now.problem
    if now.measured:
        return "Every example that was set aside is longer than the limit."
    if now.job.is_live:
        return "Being measured."
    return "The measurement did not come to its end: measure again."


def retention_jobs(checkpoints: Sequence[Checkpoint]) -> list[Job]:
    """Jobs that measure nothing but what these checkpoints kept: alive, or ended without result."""
    own = Job.objects.filter(
        retention__checkpoint__in=checkpoints,
        retention__measured=False,
        evaluation__isnull=True,
    )
    return list(own.distinct().order_by("created_at"))
