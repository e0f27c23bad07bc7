"""What becomes of a batch after each step: asked, counted, ready or refused. Repeatable."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from corpus.ingestion.tally import summaries_join
from engine.manifest import file_sha256
from ftportal.datasets.models import Batch, BatchProblem, BatchState
from ftportal.datasets.questions import questions_of
from ftportal.datasets.services.batches import batch_count, twin_of

PROBLEMS_KEPT = 500
"""Problems of a batch that are stored; more are only counted."""

_COUNTS = (
    *("context_token_count", "decision_token_count", "decision_count"),
    *("token_length_max", "decision_length_max"),
)


@transaction.atomic
def output_take(
    batch: Batch, summary: Mapping[str, Any], output: Path, problems: Sequence[Mapping[str, Any]]
) -> None:
    """Take over what an engine wrote, and go on; after a crash its files may be moved already.

    summary: of a whole reading, or of the counting that follows on one. That is taken once only.
    """
    for name, target in (
        ("examples.jsonl", batch.read_path),
        ("hashes.bin", batch.directory / "hashes.bin"),
        ("sketches.npy", batch.directory / "sketches.npy"),
        ("held_out_runs.npy", batch.directory / "held_out_runs.npy"),
    ):
        if (output / name).is_file():
            (output / name).replace(target)
    is_reading = "formats" in summary
    if is_reading:
        batch.problems.all().delete()
        batch.report = dict(summary)
        _problems_keep(batch, problems)
    elif "counted" not in batch.report:
        batch.report = summaries_join(batch.report, summary)
        _problems_keep(batch, problems)
    batch_settle(batch)


@transaction.atomic
def batch_settle(batch: Batch) -> None:
    """Bring a batch into the state that its report and its answers call for."""
    current = Batch.objects.select_for_update().get(pk=batch.pk)
    if current.state == BatchState.READY:
        return
    report = batch.report
    batch.problem_count = report.get("problem_count", 0)
    batch.format = report.get("format") or ""
    if questions_of(batch) and _asks_first(batch):
        batch.state = BatchState.ASKING
    elif batch.problem_count and not batch.options.get("good_only"):
        _refused(batch)
    elif questions_of(batch):
        batch.state = BatchState.ASKING
    elif "counted" not in report:
        batch_count(batch)
        return
    elif reason := nothing_to_learn(report):
        _problem_add(batch, reason, "Upload more, or other examples.")
        batch.problem_count += 1
        _refused(batch)
    else:
        _ready_make(batch)
        return
    batch.save()


def _asks_first(batch: Batch) -> bool:
    """Whether the questions explain the problems: a format or a choice that is not known yet."""
    return questions_of(batch)[0].key in ("columns", "preference")


def nothing_to_learn(report: Mapping[str, Any]) -> str:
    """Why nothing of a batch that was read would be trained; empty where something is."""
    if report.get("trained_count"):
        return ""
    left_out = sum(report.get("left_out", {}).values())
    if not report.get("counted"):
        if left_out:
            return f"All {left_out:,} records are left out, so nothing would be trained."
        return "There is no example in it, so nothing would be trained."
    return (
        f"All {report['counted']:,} examples are held out: one in ten is, by its content, so "
        "nothing would be trained."
    )


def _ready_make(batch: Batch) -> None:
    """Make a batch ready: its examples take their place, its counts are set."""
    if twin_of(batch) is not None:
        _again_refuse(batch)
        return
    if batch.read_path.is_file():
        batch.read_path.replace(batch.examples_path)
    batch.examples_sha256 = file_sha256(batch.examples_path)
    for name in _COUNTS:
        setattr(batch, name, batch.report[name])
    batch.example_count = batch.report["counted"]
    batch.held_out_count = batch.report["counted"] - batch.report["trained_count"]
    batch.state, batch.refused_at = BatchState.READY, None
    try:
        with transaction.atomic():
            batch.save()
    except IntegrityError:
        _again_refuse(batch)


def _again_refuse(batch: Batch) -> None:
    """Refuse a batch that is read again after a refusal, and was uploaded again in between."""
    message = "The same file was uploaded again meanwhile."
    batch_refuse(batch=batch, message=message, cure="Use that one.")


@transaction.atomic
def batch_refuse(*, batch: Batch, message: str, cure: str) -> None:
    """Refuse a batch for one reason that concerns all of it."""
    batch.problem_count = 1
    _refused(batch)
    batch.save()
    batch.problems.all().delete()
    _problem_add(batch, message, cure)


def _refused(batch: Batch) -> None:
    batch.state, batch.refused_at = BatchState.REFUSED, timezone.now()


def _problem_add(batch: Batch, message: str, cure: str) -> None:
    BatchProblem.objects.create(batch=batch, line=0, message=message, cure=cure)


def _problems_keep(batch: Batch, problems: Sequence[Mapping[str, Any]]) -> None:
    room = PROBLEMS_KEPT - batch.problems.count()
    BatchProblem.objects.bulk_create(
        BatchProblem(
            batch=batch,
            line=one["line"],
            message=one["message"],
            cure=one["cure"],
            text=one["text"],
        )
        for one in problems[: max(0, room)]
    )
