"""Jobs of the kind "ingest": what the engine is told, and what its output does to the batch."""

import json
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.services import PROBLEMS_KEPT, batch_accept, batch_refuse
from ftportal.datasets.uploads import incoming_drop
from ftportal.jobs.models import ENDED_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError

_UPLOAD_SECONDS = 24 * 3600
"""No upload is still being written after this long."""


def _config(job: Job) -> dict[str, Any]:
    batch = Batch.objects.filter(job=job).select_related("language_model").first()
    if batch is None:
        raise JobRefusedError("batch", "The batch was deleted.", "Upload the file again.")
    return {
        "source": str(batch.source_path),
        "tokenizer": str(batch.language_model.pretrained.directory),
        "decision_rule": batch.decision_rule,
        "limits": {
            "max_file_bytes": settings.FTPORTAL_UPLOAD_LIMIT_BYTES,
            "max_problems": PROBLEMS_KEPT,
        },
    }


def reading_finish(job: Job) -> None:
    """Make the job's batch ready, or refuse it with its problems; nothing is half-imported."""
    batch = Batch.objects.filter(job=job).exclude(state=BatchState.READY).first()
    if batch is None:
        return
    if job.state != JobState.SUCCEEDED:
        _refuse_whole(batch, *_failure(job))
        return
    output = job.output_directory
    summary = json.loads((output / "summary.json").read_bytes())
    if summary["problem_count"]:
        with (output / "problems.jsonl").open(encoding="utf-8") as stream:
            problems = [json.loads(line) for line in stream]
        batch_refuse(batch=batch, problems=problems, problem_count=summary["problem_count"])
        return
    try:
        batch_accept(batch=batch, summary=summary, examples=output / "examples.jsonl")
    except IntegrityError:  # read again after a refusal, and uploaded again in between
        _refuse_whole(batch, "The same file was uploaded again meanwhile.", "Use that batch.")


def _failure(job: Job) -> tuple[str, str]:
    if job.state == JobState.CANCELLED:
        return "Reading was stopped.", "Resume the job, or upload the file again."
    message = job.error_message or "The reader ended without saying why."
    where = f"{job.error_where}: " if job.error_where else ""
    return where + message, job.error_cure or "Try again; if it happens twice, tell your operator."


def _refuse_whole(batch: Batch, message: str, cure: str) -> None:
    problem = {"line": 0, "message": message, "cure": cure}
    batch_refuse(batch=batch, problems=[problem], problem_count=1)


def _sweep() -> None:
    """Find batches whose job has ended without its follow-up; drop what broken uploads left."""
    incoming_drop(older_than_seconds=_UPLOAD_SECONDS)
    lost = Batch.objects.filter(state=BatchState.READING, job__state__in=ENDED_STATES)
    for batch in lost.select_related("job"):
        if batch.job is not None:
            reading_finish(batch.job)


INGEST = JobKind(
    name="ingest",
    word="Reading",
    queue="default",
    module="corpus.ingestion",
    config=_config,
    on_finish=reading_finish,
    sweep=_sweep,
)
