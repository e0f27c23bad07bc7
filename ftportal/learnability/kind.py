"""Scoring as a job: what the engine is told, and the end."""

from typing import Any

from engine.seals import Seal
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.seals import batch_seals
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError
from ftportal.learnability.models import Learnability
from ftportal.learnability.services import KIND, learnability_finish


def score_config(job: Job) -> dict[str, Any]:
    """config.json of a scoring job; JobRefusedError where what it reads has gone."""
    one = Learnability.objects.filter(job=job).select_related("batch", "checkpoint").first()
    if one is None:
        raise JobRefusedError("batch", "The batch was deleted.", "Upload the file again.")
    if one.checkpoint.deleted_at is not None:
        where = f"checkpoint {one.checkpoint}"
        raise JobRefusedError(where, "Its files were deleted.", "Choose another checkpoint.")
    return {
        "action": "score",
        "model": str(one.checkpoint.directory),
        "manifest_sha256": one.checkpoint.manifest_hash,
        "dtype": one.dtype,
        "examples": str(one.batch.examples_path),
    }


def score_seals(job: Job) -> list[Seal]:
    """The batch; the model's hash stands in the config itself."""
    one = Learnability.objects.filter(job=job).select_related("batch").first()
    return batch_seals(one.batch) if one else []


def score_sweep() -> None:
    """Take over scores whose job has ended without its follow-up."""
    lost = Learnability.objects.filter(
        measured=False, job__state=JobState.SUCCEEDED, job__finish_handled=True
    )
    for one in lost.select_related("job"):
        learnability_finish(one.job)


def checkpoint_needed(checkpoint: Checkpoint, **_: Any) -> str | None:
    """The objection to deleting a checkpoint under which a batch is being scored."""
    one = checkpoint.learnability.filter(job__state__in=LIVE_STATES).first()
    return f"{one.batch} is being scored under it." if one else None


SCORE = JobKind(
    name=KIND,
    word="Scoring",
    queue="evaluate",
    module="evaluation",
    config=score_config,
    seals=score_seals,
    on_finish=learnability_finish,
    sweep=score_sweep,
    restricted_by=("learnability__checkpoint__language_model",),
    resumable=True,
)
