"""What checkpoints kept of sessions: asking for it, and storing what the engine measured."""

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef

from ftportal.accounts.models import User
from ftportal.blends.selectors import sessions_learned
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.evaluations.models import Evaluation, ExampleLoss, Retention, Suite
from ftportal.evaluations.selectors import baselines, default_suite
from ftportal.evaluations.services.storing import (
    ResultsError,
    json_read,
    lines_read,
    loss_of,
    rows_store,
)
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_submit
from ftportal.runs.models import RunBatch

LIMITS = {"max_examples": 64, "max_tokens": 2048}
"""Of each batch's slice; the same for every checkpoint, for they are compared in pairs."""


@transaction.atomic
def retention_request(
    *, checkpoint: Checkpoint, suite: Suite, created_by: User | None, again: bool = False
) -> list[Retention]:
    """Measure what a checkpoint kept of the sessions of its lineage, where that is missing.

    What it is compared with is measured on the same batches. A checkpoint whose evaluation waits
    in the queue is measured along with it; for others there is one job a checkpoint. `again` also
    asks again for what failed or was stopped.
    """
    batches = [one.batch for one in sessions_learned(checkpoint) if one.batch.held_out_count]
    made = []
    for one in [*baselines(checkpoint), checkpoint]:
        if one.deleted_at is None:
            missing = _missing(one, batches, suite.settings["dtype"], again)
            made += _ask(one, missing, suite, created_by) if missing else []
    return made


def _missing(
    checkpoint: Checkpoint, batches: Sequence[Batch], dtype: str, again: bool
) -> list[Batch]:
    asked = {
        one.batch_id: one
        for one in Retention.objects.filter(
            checkpoint=checkpoint, batch__in=batches, dtype=dtype
        ).select_related("job")
    }

    def is_settled(batch: Batch) -> bool:
        evaluation = asked.get(batch.pk)
        if evaluation is None:
            return False
        return evaluation.measured or evaluation.job.is_live or not again

    return [batch for batch in batches if not is_settled(batch)]


def _ask(
    checkpoint: Checkpoint, batches: Sequence[Batch], suite: Suite, created_by: User | None
) -> list[Retention]:
    dtype = suite.settings["dtype"]
    title = f"Measure what {checkpoint} kept of its sessions"
    job = _waiting_job(checkpoint, dtype) or job_submit(
        kind="evaluate", title=title[:200], created_by=created_by
    )
    return [
        Retention.objects.update_or_create(
            checkpoint=checkpoint,
            batch=batch,
            dtype=dtype,
            defaults={"job": job, "problem": ""},
        )[0]
        for batch in batches
    ]


def _waiting_job(checkpoint: Checkpoint, dtype: str) -> Job | None:
    """The job of an evaluation that nobody has started, held so that nobody does meanwhile."""
    waiting = Evaluation.objects.filter(
        checkpoint=checkpoint, job__state=JobState.QUEUED, job__fence=0
    ).select_related("suite")
    keys = [one.job_id for one in waiting if one.suite.settings["dtype"] == dtype]
    return (
        Job.objects.select_for_update()
        .filter(pk__in=keys, state=JobState.QUEUED, fence=0)
        .order_by("created_at")
        .first()
    )


def retention_finish(job: Job) -> None:
    """Store what a finished job has measured; may be called again and again."""
    if job.state != JobState.SUCCEEDED:
        return
    for retention in job.retention.filter(measured=False, problem="").select_related("batch"):
        try:
            _import(retention, job)
        except (ResultsError, OSError) as error:
            message = f"The results could not be used: {error} Measure again."
            Retention.objects.filter(pk=retention.pk, measured=False).update(problem=message)


def _import(retention: Retention, job: Job) -> None:
    settings = json_read(job.output_directory / "settings.json")
    key = str(retention.batch_id)
    rows = (
        (where, line)
        for where, line in lines_read(job.output_directory / "retention.jsonl")
        if line.get("session_key") == key
    )
    rows_store(ExampleLoss, {"retention": retention}, rows, partial(_example, retention))
    Retention.objects.filter(pk=retention.pk).update(measured=True, settings=settings)


def _example(retention: Retention, line: dict) -> ExampleLoss:
    return ExampleLoss(
        retention=retention,
        doc_hash=line["doc_hash"],
        nll_nats=loss_of(line),
        tokens=int(line["tokens"]),
    )


def retention_sweep() -> None:
    """Ask for what nobody asked: of checkpoints that the default suite measures, whose run learned
    batches on which they are not measured."""
    suite = default_suite()
    if suite is None:
        return
    asked = Retention.objects.filter(
        checkpoint=OuterRef("run__output"), batch=OuterRef("batch"), dtype=suite.settings["dtype"]
    )
    evaluated = Evaluation.objects.filter(
        checkpoint=OuterRef("run__output"), suite__content_hash=suite.content_hash
    )
    lost = RunBatch.objects.filter(
        ~Exists(asked),
        Exists(evaluated),
        batch__held_out_count__gt=0,
        run__output__deleted_at__isnull=True,
        run__output__isnull=False,
    ).select_related("run__output", "run__submitter")
    for run in {one.run for one in lost}:
        if run.output is not None:
            retention_request(checkpoint=run.output, suite=suite, created_by=run.submitter)
