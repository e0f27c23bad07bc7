"""Evaluations as jobs: what the engine is told, and what happens when it is done."""

from typing import Any

from evaluation.config import config_from_json
from ftportal.evaluations.models import Evaluation
from ftportal.evaluations.services import evaluation_finish, follow_ups_sweep
from ftportal.jobs.models import Job
from ftportal.jobs.registry import JobKind, JobRefusedError
from training.config import ConfigError


def engine_config(job: Job) -> dict[str, Any]:
    """The engine's config.json for an evaluation; raises JobRefusedError where it cannot run."""
    evaluation = Evaluation.objects.select_related("checkpoint", "suite").get(job=job)
    checkpoint, suite = evaluation.checkpoint, evaluation.suite
    if checkpoint.deleted_at is not None:
        raise JobRefusedError(
            f"Checkpoint {checkpoint}", "Its files were deleted.", "Measure another checkpoint."
        )
    settings = dict(suite.settings)
    max_documents = settings.pop("max_documents")
    max_tokens = settings.pop("max_document_tokens")
    config = {
        "action": "measure",
        "model": str(checkpoint.directory),
        "benchmarks": [
            {"name": one["name"], "source": one["source"], "limit": one["limit"]}
            for one in suite.benchmarks
        ],
        "held_out": [
            {
                "key": one.sha256,
                "name": one.name,
                "domain": one.domain,
                "path": str(one.path),
                "max_documents": max_documents,
                "max_tokens": max_tokens,
            }
            for one in suite.held_out_sets.all()
        ],
        **settings,
    }
    try:
        config_from_json(config)
    except ConfigError as error:
        raise JobRefusedError(f"Suite {suite}, {error.where}", error.message, error.cure) from error
    return config


EVALUATE = JobKind(
    name="evaluate",
    word="Measuring",
    queue="evaluate",
    module="evaluation",
    config=engine_config,
    on_finish=evaluation_finish,
    sweep=follow_ups_sweep,
    resumable=True,
)
