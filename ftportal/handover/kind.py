"""Exports as jobs: the engine's configuration, its summary, the end, and what is swept."""

import logging
from typing import Any

from engine.checks import ConfigError
from engine.events import Done, Event
from engine.process import BAD_INPUT
from engine.seals import Seal
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.evaluations.selectors import default_suite
from ftportal.evaluations.services import EvaluationError
from ftportal.handover.card_head import licence_id
from ftportal.handover.models import Export
from ftportal.handover.services import KIND, alias_publish, aliases_sweep, export_finish
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError
from training.config.export import ExportConfig

logger = logging.getLogger(__name__)


def export_config(job: Job) -> dict[str, Any]:
    """config.json of an export's job; JobRefusedError where the checkpoint's files have gone."""
    export = Export.objects.select_related("source__language_model").get(job=job)
    source = export.source
    if source.deleted_at is not None:
        message, cure = "Its files were deleted.", "Export another checkpoint."
        raise JobRefusedError(f"checkpoint {source}", message, cure)
    try:
        return ExportConfig(
            model=str(source.directory.resolve()),
            quantisation=export.quantisation,
            name=source.name,
            licence=licence_id(source.language_model),
            checkpoint_sha256=source.manifest_hash,
        ).to_json()
    except ConfigError as error:
        raise JobRefusedError(error.where, error.message, error.cure) from error


def export_seals(job: Job) -> list[Seal]:
    """The checkpoint that is exported."""
    return checkpoint_seals(Export.objects.select_related("source").get(job=job).source)


def export_events(job: Job, events: list[Event]) -> None:
    """Keep the summary of the engine."""
    for event in events:
        if isinstance(event, Done):
            Export.objects.filter(job=job).update(summary=event.summary)


def export_finished(job: Job) -> None:
    """What follows the end of an export's job."""
    try:
        export_finish(job=job)
    except EvaluationError:
        logger.exception("%s is not measured", job)  # its page says so; the file is there


def handover_sweep() -> None:
    """Find what a crash cut off: exports without their checkpoint or measurement, aliases."""
    aliases_sweep()
    done = Export.objects.filter(job__state=JobState.SUCCEEDED, job__finish_handled=True)
    for export in done.filter(result__isnull=True).select_related("job"):
        export_finished(export.job)
    suite = default_suite()
    if suite is None:
        return
    unmeasured = done.filter(
        result__deleted_at__isnull=True, created_at__gte=suite.created_at
    ).exclude(result__evaluations__suite__content_hash=suite.content_hash)
    for export in unmeasured.exclude(result=None).select_related("job"):
        export_finished(export.job)


def on_champion_changed(*, language_model: LanguageModel, **_: Any) -> None:
    """The alias folder follows at once; where that fails, the sweep tries again."""
    try:
        alias_publish(language_model=language_model)
    except (OSError, KeyError) as error:
        logger.error("the alias folder of %s cannot be written: %s", language_model, error)


def source_needed(checkpoint: Checkpoint, **_: Any) -> str | None:
    """The objection to deleting a checkpoint that a waiting or working export reads."""
    export = Export.objects.filter(source=checkpoint, job__state__in=LIVE_STATES).first()
    return f"{export} is being made from it." if export else None


EXPORT = JobKind(
    name=KIND,
    word="Exporting",
    queue="default",
    module="training.export",
    config=export_config,
    seals=export_seals,
    on_events=export_events,
    on_finish=export_finished,
    sweep=handover_sweep,
    restricted_by=("export__source__language_model",),
    final_exit_codes=frozenset({BAD_INPUT}),
)
