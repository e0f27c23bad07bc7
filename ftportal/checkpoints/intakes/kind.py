"""Intakes as jobs: the engine's configuration, what it has found out, and the end."""

from typing import Any

from django.conf import settings

from engine.checks import ConfigError
from engine.events import Done, Event
from engine.seals import Seal
from ftportal.checkpoints.intakes.services import INTAKE_KIND, intake_finish, intakes_drop
from ftportal.checkpoints.models import Checkpoint, Intake
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.checkpoints.services import models_sweep
from ftportal.jobs.models import Job
from ftportal.jobs.registry import JobKind, JobRefusedError
from training.config.intake import IntakeConfig

HUB_CURE = "Set FTPORTAL_HUB=true for the workers, or put the model's files on this server."


def intake_config(job: Job) -> dict[str, Any]:
    """config.json of an intake; JobRefusedError where the hub may not be asked."""
    intake = Intake.objects.select_related("language_model").get(job=job)
    if intake.hub_id and not settings.FTPORTAL_HUB:
        raise JobRefusedError("FTPORTAL_HUB", "this portal fetches nothing from a hub", HUB_CURE)
    try:
        if intake.hub_id:
            revision = intake.revision or None
            return dict(IntakeConfig(hub_id=intake.hub_id, revision=revision).to_json())
        return dict(IntakeConfig(model=str(_pretrained(intake).directory.resolve())).to_json())
    except ConfigError as error:
        raise JobRefusedError(error.where, error.message, error.cure) from error


def intake_seals(job: Job) -> list[Seal]:
    """The files of a model that is looked at; none of one that is yet to come."""
    intake = Intake.objects.select_related("language_model").get(job=job)
    return [] if intake.hub_id else checkpoint_seals(_pretrained(intake))


def _pretrained(intake: Intake) -> Checkpoint:
    if intake.language_model is None:
        raise ValueError(f"{intake} has no model")
    return intake.language_model.pretrained


def intake_events(job: Job, events: list[Event]) -> None:
    """Keep what the engine has found out."""
    for event in events:
        if isinstance(event, Done):
            Intake.objects.filter(job=job).update(findings=event.summary)


def intake_finished(job: Job) -> None:
    """What follows the end of an intake's job."""
    intake_finish(job=job)


def intake_sweep() -> None:
    """Remove what crashes and fetches that nobody went on with have left."""
    models_sweep()
    intakes_drop()


INTAKE = JobKind(
    name=INTAKE_KIND,
    word="Taking in a model",
    queue="default",
    restricted_by=("intake__language_model",),
    module="training.intake",
    config=intake_config,
    seals=intake_seals,
    on_events=intake_events,
    on_finish=intake_finished,
    sweep=intake_sweep,
)
