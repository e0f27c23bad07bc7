"""Retention by batch: what a checkpoint still knows of each session that its lineage learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.judging import statistics
from evaluation.judging.paired import Document
from ftportal.blends.selectors import sessions_learned
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.evaluations.models import ExampleLoss, Retention, Suite
from ftportal.evaluations.selectors.change import Change, loss_change
from ftportal.evaluations.selectors.measured import baselines
from ftportal.jobs.models import Job
from ftportal.runs.selectors import Learned

PINNED = ("dtype", "attention", "tokenizer_sha256")
"""What has to be the same on both sides; examples are measured one by one, so no batch size."""


@dataclass(frozen=True, kw_only=True)
class Since:
    """How the loss on a batch's held-out examples moved from an earlier checkpoint to this one."""

    checkpoint: Checkpoint
    """The earlier one."""
    loss_nats: float | None
    """Its mean loss; None where it is not measured."""
    change: Change
    """After minus before, nats a decision token, examples in pairs: above 0 is worse."""


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
    since_learned: Since | None = None
    """None where this checkpoint's own session learned it."""
    changes: Sequence[Since] = field(default_factory=list)
    """Since each baseline, in the order of `baselines`: the anchor, the parent, the champion."""

    def since(self, checkpoint: Checkpoint) -> Since | None:
        """The change since one of the baselines; None where it is none of them."""
        return next((one for one in self.changes if one.checkpoint == checkpoint), None)


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


_Measured = dict[tuple[int, int], Retention]
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
    measured: _Measured,
    losses: _Losses,
) -> RetentionRow:
    batch = learned.batch
    now = measured.get((checkpoint.pk, batch.pk))
    examples = losses.get(now.pk, []) if now else []

    def since(before: Checkpoint) -> Since:
        return _since(before, measured.get((before.pk, batch.pk)), now, losses)

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


def _since(
    checkpoint: Checkpoint, before: Retention | None, now: Retention | None, losses: _Losses
) -> Since:
    earlier = losses.get(before.pk, []) if before else []
    later = losses.get(now.pk, []) if now else []
    change = Change()
    if before is not None and now is not None and earlier and later:
        change = _change(before, now, earlier, later)
    return Since(checkpoint=checkpoint, loss_nats=_mean_nats(earlier), change=change)


def _change(
    before: Retention, now: Retention, earlier: Sequence[Document], later: Sequence[Document]
) -> Change:
    for name in PINNED:
        if before.settings.get(name) != now.settings.get(name):
            problem = f"Measured with a different {name.replace('_', ' ')}: measure both alike."
            return Change(why_missing=problem)
    return loss_change(f"session {now.batch_id}", earlier, later)


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
