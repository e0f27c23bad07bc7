"""Asking for measurements. Nothing is measured twice; what failed can be asked for again."""

from django.db import transaction

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors import baselines, default_suite, evaluation_of
from ftportal.evaluations.services.retention import retention_request
from ftportal.evaluations.services.suites import EvaluationError, suite_check
from ftportal.jobs.models import JobState
from ftportal.jobs.services import job_resume, job_submit


@transaction.atomic
def evaluation_request(
    *, checkpoint: Checkpoint, suite: Suite, created_by: User | None
) -> Evaluation:
    """The measurement of `checkpoint` by `suite`: the one that exists, or a new one, queued.

    A suite with the same content under another name shares its measurements. One that failed or
    was stopped is queued again. Raises EvaluationError, for example where the files are gone.
    """
    # On PostgreSQL two requests at once wait for each other here; SQLite has one writer anyway.
    Checkpoint.with_exports.select_for_update().get(pk=checkpoint.pk)
    existing = evaluation_of(checkpoint, suite)
    if existing is not None and (existing.measured or existing.job.is_live):
        return existing
    if checkpoint.deleted_at is not None:
        raise EvaluationError(
            f"The files of {checkpoint} were deleted, so it cannot be measured.",
            "Measure one of the checkpoints that are still there.",
        )
    suite_check(suite)
    if existing is not None:
        return request_again(existing, created_by)
    job = job_submit(kind="evaluate", title=_title(checkpoint, suite), created_by=created_by)
    evaluation = Evaluation(checkpoint=checkpoint, suite=suite, job=job)
    evaluation.full_clean()
    evaluation.save()
    record("evaluation.asked", checkpoint, after={"suite": str(suite)})
    return evaluation


def request_again(evaluation: Evaluation, created_by: User | None) -> Evaluation:
    """Queue once more what failed, was stopped or could not be used."""
    if evaluation.job.state == JobState.SUCCEEDED:
        if not evaluation.problem:
            return evaluation  # its results are being stored right now
        # The engine was done but its results could not be used: measure again in a job of its own.
        evaluation.samples.all().delete()
        evaluation.documents.all().delete()
        evaluation.scores.all().delete()
        title = _title(evaluation.checkpoint, evaluation.suite)
        evaluation.job = job_submit(kind="evaluate", title=title, created_by=created_by)
    else:
        evaluation.job = job_resume(job=evaluation.job)
    evaluation.problem = ""
    evaluation.save(update_fields=["job", "problem"])
    return evaluation


@transaction.atomic
def checkpoint_measure(
    *, checkpoint: Checkpoint, suite: Suite, created_by: User | None, again: bool = False
) -> list[Evaluation]:
    """Measure a checkpoint and what it is judged against, where that is still missing, by a suite
    and on the examples that the sessions of its lineage set aside.

    `again`: also queue what failed or was stopped, as a person wants who presses the button; what
    happens by itself does not try a failed one forever. Baselines come first in the queue.
    """
    measured = []
    for one in [*baselines(checkpoint), checkpoint]:
        known = evaluation_of(one, suite)
        if known is not None and not again:
            measured.append(known)
        elif one.deleted_at is None or one == checkpoint:
            measured.append(evaluation_request(checkpoint=one, suite=suite, created_by=created_by))
    retention_request(checkpoint=checkpoint, suite=suite, created_by=created_by, again=again)
    return measured


def default_measure(*, checkpoint: Checkpoint, created_by: User | None) -> list[Evaluation]:
    """What follows a run: `checkpoint_measure` by the default suite, while there is one."""
    suite = default_suite()
    if suite is None:
        return []
    return checkpoint_measure(checkpoint=checkpoint, suite=suite, created_by=created_by)


def _title(checkpoint: Checkpoint, suite: Suite) -> str:
    return f"Measure {checkpoint} by {suite}"[:200]
