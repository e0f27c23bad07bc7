"""Answers to what a batch asks, and the choice to import only what is good."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from ftportal.audit.services import record
from ftportal.datasets.models import Batch, BatchState, ColumnShape
from ftportal.datasets.options import READING_OPTIONS, options_check, variant_of
from ftportal.datasets.questions import questions_of
from ftportal.datasets.selectors import shape_of
from ftportal.datasets.services.batches import batch_read, same_file, twin_of
from ftportal.datasets.services.errors import DatasetError
from ftportal.datasets.services.settling import batch_settle


@transaction.atomic
def batch_answer(
    *,
    batch: Batch,
    accepted: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    decision_rule: str = "",
    reasoning: str = "",
) -> Batch:
    """Take what a person said about a batch, and go on with it.

    accepted: keys of questions that are answered with yes; what is not answered yet is asked on.
    Other choices than those it was read by have it read again. Raises DatasetError where it does
    not ask any more, OptionError where a choice cannot be honoured.
    """
    batch = Batch.objects.select_for_update().get(pk=batch.pk)
    if batch.state != BatchState.ASKING:
        raise DatasetError("It does not wait for an answer any more.", "Look at its page.")
    before = (batch.decision_rule, batch.reasoning, *map(batch.options.get, READING_OPTIONS))
    known = {one.key for one in questions_of(batch) if one.is_yes_or_no}
    kept = set(batch.options.get("accepted", ())) | (set(accepted) & known)
    batch.options = options_check({**batch.options, **(options or {}), "accepted": sorted(kept)})
    batch.decision_rule = decision_rule or batch.decision_rule
    batch.reasoning = reasoning or batch.reasoning
    after = (batch.decision_rule, batch.reasoning, *map(batch.options.get, READING_OPTIONS))
    _variant_set(batch)
    said = {name: value for name, value in (options or {}).items() if name != "leave_out"}
    reason = str(said.get("contaminated_kept", ""))
    record(
        "batch.answered",
        batch,
        after={**said, "accepted": sorted(set(accepted) & known)},
        reason=reason,
    )
    if before != after:
        _shape_remember(batch)
        batch_read(batch)
    else:
        batch.save()
        batch_settle(batch)
    return batch


@transaction.atomic
def batch_good_only(*, batch: Batch) -> Batch:
    """Import what can be used of a refused batch; the problems stay listed with it."""
    batch = Batch.objects.select_for_update().get(pk=batch.pk)
    if batch.state != BatchState.REFUSED or not can_import_good(batch):
        raise DatasetError("Nothing of it can be imported.", "Upload the mended file.")
    batch.options = {**batch.options, "good_only": True}
    _variant_set(batch)
    record("batch.good_only", batch, after={"problems": batch.problem_count})
    batch.save()
    batch_settle(batch)
    return batch


def can_import_good(batch: Batch) -> bool:
    """Whether a refused batch has examples that can be used."""
    return (
        batch.state == BatchState.REFUSED
        and bool(batch.good_count)
        and batch.report.get("trained_count") != 0
        and bool(batch.report.get("problem_count"))
        and batch.read_path.is_file()
    )


def _variant_set(batch: Batch) -> None:
    batch.variant = variant_of(batch.options)
    if twin_of(batch) is not None:
        raise same_file(batch)


def _shape_remember(batch: Batch) -> None:
    """Keep a mapping for the next file with the same columns."""
    columns = batch.options.get("columns")
    if columns:
        ColumnShape.objects.update_or_create(
            shape=shape_of(batch.report.get("unknown_columns", {})), defaults={"columns": columns}
        )
