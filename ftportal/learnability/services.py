"""Having the decisions of a batch scored, taking the scores over, and leaving rows out by them."""

import json

from django.db import transaction

from corpus.scored import DECISIONS_FILE
from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.services import batch_version
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_resume, job_submit
from ftportal.learnability.models import Learnability
from ftportal.learnability.selectors import examples_beyond

KIND = "score"
LEFT_OUT_MAX = 50_000
"""Examples that one version leaves out by their scores; each is named with the version."""


class LearnabilityError(ProblemError):
    """A batch cannot be scored, or nothing can be left out."""


@transaction.atomic
def learnability_request(
    *, batch: Batch, checkpoint: Checkpoint, created_by: User | None, dtype: str = "float32"
) -> Learnability:
    """Score every decision of a batch under a checkpoint; nothing is scored twice.

    One that failed or was stopped goes on. Raises LearnabilityError where that cannot be.
    """
    if batch.state != BatchState.READY or not batch.examples_path.is_file():
        raise LearnabilityError(f"{batch} has no examples to score.", "Wait until it is ready.")
    if checkpoint.language_model_id != batch.language_model_id:
        message = f"{batch} was counted for {batch.language_model}."
        raise LearnabilityError(message, "Choose a checkpoint of that model.")
    current = Checkpoint.objects.select_for_update().get(pk=checkpoint.pk)
    if current.deleted_at is not None:
        message = f"The files of {checkpoint} were deleted."
        raise LearnabilityError(message, "Choose another checkpoint.")
    known = (
        Learnability.objects.filter(batch=batch, checkpoint=checkpoint, dtype=dtype)
        .select_related("job")
        .first()
    )
    if known is None:
        title = f"Score the decisions of {batch} under {checkpoint}"
        job = job_submit(kind=KIND, title=title[:200], created_by=created_by)
        record("learnability.asked", batch, after={"checkpoint": str(checkpoint)})
        return Learnability.objects.create(
            batch=batch, checkpoint=checkpoint, dtype=dtype, job=job, created_by=created_by
        )
    if known.job.state in (JobState.FAILED, JobState.CANCELLED):
        known.job = job_resume(job=known.job)
    return known


def learnability_finish(job: Job) -> None:
    """Take over what a finished job has scored; idempotent."""
    learnability = Learnability.objects.filter(job=job, measured=False).first()
    if learnability is None or job.state != JobState.SUCCEEDED:
        return
    output = job.output_directory
    if (output / DECISIONS_FILE).is_file():
        (output / DECISIONS_FILE).replace(learnability.path)
    learnability.summary = json.loads((output / "summary.json").read_bytes())
    learnability.measured = True
    learnability.save(update_fields=["summary", "measured"])


def examples_leave_out(
    *,
    learnability: Learnability,
    made_by: User,
    reason: str,
    below: float | None = None,
    above: float | None = None,
) -> Batch:
    """Make a version of the batch without the examples whose scores lie beyond a limit.

    below: any decision of them is less likely; above: every decision is likelier; in nats a token.
    Raises LearnabilityError where that is nothing, all, or too many; DatasetError as
    `batch_version` does.
    """
    if below is None and above is None:
        raise LearnabilityError("No limit was given.", "Write a number such as -4.")
    batch = learnability.batch
    hashes = examples_beyond(learnability, below=below, above=above)
    if not hashes:
        raise LearnabilityError("No example lies beyond that.", "Choose another limit.")
    if len(hashes) >= (batch.example_count or 0):
        raise LearnabilityError("Every example lies beyond that.", "Choose another limit.")
    if len(hashes) > LEFT_OUT_MAX:
        message = f"{len(hashes):,} examples lie beyond that; at most {LEFT_OUT_MAX:,} are named."
        raise LearnabilityError(message, "Choose a stricter limit, or mend the file.")
    left_out = {**batch.options.get("leave_out", {}), **dict.fromkeys(hashes, reason[:100])}
    return batch_version(
        batch=batch, made_by=made_by, reason=reason, options={"leave_out": left_out}
    )
