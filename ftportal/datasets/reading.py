"""Jobs of the kinds "ingest" and "count": what the engine is told, and what its output does."""

import json
from typing import Any

from django.conf import settings

from engine.seals import Seal
from ftportal.datasets.contamination import references_write, slice_name
from ftportal.datasets.models import WORKING_STATES, Batch, BatchState
from ftportal.datasets.seals import source_seals
from ftportal.datasets.services import refused_files_drop
from ftportal.datasets.services.settling import PROBLEMS_KEPT, batch_refuse, output_take
from ftportal.datasets.services.uploading import uploads_drop
from ftportal.datasets.uploads import incoming_drop
from ftportal.jobs.models import ENDED_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError

_UPLOAD_SECONDS = 24 * 3600
"""No upload is still being written after this long."""
SMALL_BYTES = 8 << 20
"""A smaller file is read and counted by one process: to start a second one would take longer."""


def _config(job: Job) -> dict[str, Any]:
    batch = _batch_of(job)
    is_small = batch.source_path.stat().st_size <= SMALL_BYTES
    return {
        **_common(batch),
        **(_screening(batch, job) if is_small else {}),
        "source": str(batch.source_path),
        "filename": batch.filename,
        "passes": "all" if is_small else "reading",
        "reasoning": batch.reasoning,
        "empty_reasoning": bool(batch.options.get("empty_reasoning")),
        "preference": batch.options.get("preference", ""),
        "columns": batch.options.get("columns", {}),
        "outcome_least": batch.options.get("outcome_least", {}),
        "template_arguments": batch.options.get("template_arguments", {}),
        "leave_out": batch.options.get("leave_out", {}),
        "redact": bool(batch.options.get("redact")),
    }


def _count_config(job: Job) -> dict[str, Any]:
    batch = _batch_of(job)
    own = {"source": str(batch.read_path), "passes": "counting"}
    return _common(batch) | _screening(batch, job) | own


def _screening(batch: Batch, job: Job) -> dict[str, Any]:
    """What a batch is held against."""
    earlier = Batch.objects.filter(state=BatchState.READY).exclude(sha256=batch.sha256)
    return {
        "references": str(references_write(job.directory / "references.jsonl")),
        "earlier": [
            {
                "key": str(one.pk),
                "name": slice_name(one),
                "directory": str(one.directory),
            }
            for one in earlier
        ],
    }


def _common(batch: Batch) -> dict[str, Any]:
    limit = settings.FTPORTAL_UPLOAD_LIMIT_BYTES
    return {
        "tokenizer": str(batch.language_model.pretrained.directory),
        "decision_rule": batch.decision_rule,
        "day": batch.created_at.date().isoformat(),
        "limits": {
            "max_file_bytes": limit,
            "max_expanded_bytes": 8 * limit,
            "max_problems": PROBLEMS_KEPT,
        },
    }


def _batch_of(job: Job) -> Batch:
    batch = Batch.objects.filter(job=job).select_related("language_model").first()
    if batch is None:
        raise JobRefusedError("batch", "The batch was deleted.", "Upload the file again.")
    return batch


def reading_finish(job: Job) -> None:
    """Go on with the job's batch, or refuse it with its problems; nothing is half-imported."""
    batch = Batch.objects.filter(job=job).first()
    if batch is None or batch.state in (BatchState.READY, BatchState.ASKING):
        return
    if job.state != JobState.SUCCEEDED:
        batch_refuse(batch=batch, **_failure(job))
        return
    output = job.output_directory
    summary = json.loads((output / "summary.json").read_bytes())
    with (output / "problems.jsonl").open(encoding="utf-8") as stream:
        problems = [json.loads(line) for line in stream]
    output_take(batch, summary, output, problems)


def _failure(job: Job) -> dict[str, str]:
    if job.state == JobState.CANCELLED:
        cure = "Resume the job, or upload the file again."
        return {"message": "Reading was stopped.", "cure": cure}
    message = job.error_message or "The reader ended without saying why."
    where = f"{job.error_where}: " if job.error_where else ""
    cure = job.error_cure or "Try again; if it happens twice, tell your operator."
    return {"message": where + message, "cure": cure}


def _sweep() -> None:
    """Find batches whose job has ended without its follow-up; drop what broken uploads left."""
    incoming_drop(older_than_seconds=_UPLOAD_SECONDS)
    refused_files_drop()
    uploads_drop()
    lost = Batch.objects.filter(state__in=WORKING_STATES, job__state__in=ENDED_STATES)
    for batch in lost.select_related("job"):
        if batch.job is not None:
            reading_finish(batch.job)


def _source_seals(job: Job) -> list[Seal]:
    return source_seals(_batch_of(job))


_OF_A_BATCH = ("batch__language_model",)
INGEST = JobKind(
    name="ingest",
    word="Reading",
    queue="default",
    module="corpus.ingestion",
    config=_config,
    seals=_source_seals,
    on_finish=reading_finish,
    sweep=_sweep,
    restricted_by=_OF_A_BATCH,
    resumable=True,
)
COUNT = JobKind(
    name="count",
    word="Counting",
    queue="default",
    module="corpus.ingestion",
    config=_count_config,
    on_finish=reading_finish,
    restricted_by=_OF_A_BATCH,
    resumable=True,
)
