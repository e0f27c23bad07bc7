"""Evaluations as jobs: what the engine is told, and what happens when it is done."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings as portal

from engine.checks import ConfigError
from engine.seals import Seal
from evaluation.config import config_from_json
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.datasets.seals import batch_seals, held_out_seals
from ftportal.evaluations.models import Evaluation, OwnBenchmark, Retention, Suite
from ftportal.evaluations.selectors import divergence_missing, pinned_fields, retention_dtype
from ftportal.evaluations.services import (
    early_config,
    evaluation_finish,
    follow_ups_sweep,
    retention_finish,
)
from ftportal.evaluations.services.retention import LIMITS
from ftportal.jobs.models import Job
from ftportal.jobs.registry import JobKind, JobRefusedError


def engine_config(job: Job) -> dict[str, Any]:
    """The engine's config.json for an evaluation, for what a checkpoint kept of its sessions, or
    for both; raises JobRefusedError where it cannot run."""
    evaluation = (
        Evaluation.with_repeats.select_related("checkpoint__parent", "suite")
        .filter(job=job)
        .first()
    )
    kept = list(job.retention.select_related("checkpoint", "batch"))
    if evaluation is None and not kept:
        raise JobRefusedError("evaluation", "There is nothing to measure.", "Ask for it again.")
    checkpoint = evaluation.checkpoint if evaluation else kept[0].checkpoint
    if checkpoint.deleted_at is not None:
        raise JobRefusedError(
            f"Checkpoint {checkpoint}", "Its files were deleted.", "Measure another checkpoint."
        )
    config: dict[str, Any] = {
        "action": "measure",
        "model": str(checkpoint.directory),
        "manifest_sha256": checkpoint.manifest_hash,
    }
    if evaluation:
        config |= _suite_part(evaluation.suite) | pinned_fields(evaluation)
    else:
        config["dtype"] = retention_dtype(kept)
    config["sessions"] = _sessions(kept)
    if evaluation and not evaluation.repeat and not evaluation.adaptive_key:
        config |= _parent_part(checkpoint, config)
    if evaluation and evaluation.adaptive_key:
        config["adaptive"] = early_config(evaluation)
    if evaluation is None and not config["sessions"]:
        message, cure = "The examples are gone from the disk.", "Upload the batch again."
        raise JobRefusedError(f"Batch {kept[0].batch}", message, cure)
    try:
        config_from_json(config)
    except ConfigError as error:
        where = f"Suite {evaluation.suite}, {error.where}" if evaluation else error.where
        raise JobRefusedError(where, error.message, error.cure) from error
    return config


def _parent_part(checkpoint: Checkpoint, config: dict[str, Any]) -> dict[str, Any]:
    """The parent, where there is one to compare with and something to compare the two on."""
    parent = checkpoint.parent
    if parent is None or not (config["held_out"] or config["sessions"]):
        return {}
    return {} if divergence_missing(checkpoint) else {"parent": str(parent.directory)}


def _suite_part(suite: Suite) -> dict[str, Any]:
    settings = dict(suite.settings)
    max_documents = settings.pop("max_documents")
    max_tokens = settings.pop("max_document_tokens")
    return {
        "benchmarks": [_benchmark(one) for one in suite.benchmarks],
        "hub": portal.FTPORTAL_HUB,
        "datasets_folder": str(portal.FTPORTAL_BENCHMARK_DATA),
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


def _benchmark(pinned: dict[str, Any]) -> dict[str, Any]:
    named = {key: pinned[key] for key in ("name", "source", "limit")}
    if pinned["source"] != "own":
        return named
    own = OwnBenchmark.objects.filter(key=pinned["name"]).first()
    if own is None:
        message, cure = "It was deleted.", "Upload it again, or use another suite."
        raise JobRefusedError(f"Benchmark {pinned['name']}", message, cure)
    return named | {"path": str(own.path), "content_hash": pinned["content_hash"]}


def _sessions(kept: Sequence[Retention]) -> list[dict[str, Any]]:
    """What the engine reads of each batch. A file that is gone bars its own batch only."""
    sessions = []
    for one in kept:
        if one.batch.examples_path.is_file():
            path = str(one.batch.examples_path)
            sessions.append(
                {"key": str(one.batch_id), "name": one.batch.name, "path": path} | LIMITS
            )
        else:
            message = "The examples of the batch are gone from the disk. Upload the file again."
            Retention.objects.filter(pk=one.pk).update(problem=message)
    return sessions


def engine_seals(job: Job) -> list[Seal]:
    """Texts, batches and the parent; the model's own hash stands in the config itself."""
    evaluation = (
        Evaluation.with_repeats.select_related("checkpoint__parent", "suite")
        .filter(job=job)
        .first()
    )
    seals: list[Seal] = []
    if evaluation is not None:
        for held_out in evaluation.suite.held_out_sets.all():
            seals += held_out_seals(held_out)
        parent = evaluation.checkpoint.parent
        if parent is not None and not evaluation.repeat and not evaluation.adaptive_key:
            seals += checkpoint_seals(parent)
    for kept in job.retention.select_related("batch"):
        if kept.batch.examples_path.is_file():
            seals += batch_seals(kept.batch)
    return seals


def measured_finish(job: Job) -> None:
    """Store all that a finished job has measured; idempotent."""
    retention_finish(job)
    evaluation_finish(job)


EVALUATE = JobKind(
    name="evaluate",
    word="Measuring",
    queue="evaluate",
    module="evaluation",
    config=engine_config,
    seals=engine_seals,
    on_finish=measured_finish,
    sweep=follow_ups_sweep,
    restricted_by=(
        "evaluation__checkpoint__language_model",
        "retention__checkpoint__language_model",
    ),
    resumable=True,
)
