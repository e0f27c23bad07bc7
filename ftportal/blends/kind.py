"""Blends as jobs: the engine's configuration, its summary, and the end."""

from typing import Any

from django.db.models import Q

from engine.checks import ConfigError
from engine.events import Done, Event
from engine.process import BAD_INPUT
from engine.seals import Seal
from ftportal.blends.models import Blend
from ftportal.blends.services import KIND, blend_finish
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError
from training.config.blend import BlendConfig


def blend_config(job: Job) -> dict[str, Any]:
    """config.json of a blend's job; JobRefusedError where the files of an end have gone."""
    blend = Blend.objects.select_related("candidate__parent__language_model").get(job=job)
    for one in (blend.parent, blend.candidate):
        if one.deleted_at is not None:
            raise JobRefusedError(
                f"checkpoint {one}",
                "Its files were deleted.",
                "A blend needs the weights of both ends.",
            )
    anchor = blend.parent.language_model.pretrained
    try:
        return BlendConfig(
            parent=str(blend.parent.directory.resolve()),
            candidate=str(blend.candidate.directory.resolve()),
            alpha=blend.alpha,
            anchor_model=str(anchor.directory.resolve()) if anchor.deleted_at is None else None,
        ).to_json()
    except ConfigError as error:
        raise JobRefusedError(error.where, error.message, error.cure) from error


def blend_seals(job: Job) -> list[Seal]:
    """Both ends of a blend, and the anchor."""
    blend = Blend.objects.select_related("candidate__parent__language_model").get(job=job)
    return checkpoint_seals(blend.parent, blend.candidate, blend.parent.language_model.pretrained)


def blend_events(job: Job, events: list[Event]) -> None:
    """Keep the summary of the engine."""
    for event in events:
        if isinstance(event, Done):
            Blend.objects.filter(job=job).update(summary=event.summary)


def blend_finished(job: Job) -> None:
    """What follows the end of a blend's job."""
    blend_finish(job=job)


def blend_sweep() -> None:
    """Finish blends whose engine has ended well but which have no checkpoint."""
    lost = Blend.objects.filter(
        job__state=JobState.SUCCEEDED, job__finish_handled=True, result__isnull=True
    )
    for blend in lost.select_related("job"):
        blend_finish(job=blend.job)


def ends_needed(checkpoint: Checkpoint, **_: Any) -> str | None:
    """The objection to deleting a checkpoint that a waiting or working blend reads."""
    reads = Q(candidate=checkpoint) | Q(candidate__parent=checkpoint)
    blend = Blend.objects.filter(reads, job__state__in=LIVE_STATES).first()
    return f"{blend} is being made from it." if blend else None


BLEND = JobKind(
    name=KIND,
    word="Blending",
    queue="default",
    module="training.blend",
    config=blend_config,
    seals=blend_seals,
    on_events=blend_events,
    on_finish=blend_finished,
    sweep=blend_sweep,
    restricted_by=("blend__candidate__language_model",),
    final_exit_codes=frozenset({BAD_INPUT}),
)
