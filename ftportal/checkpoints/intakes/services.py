"""Intakes: a look at a model that was registered, or a fetch of one that will be."""

import shutil
from pathlib import Path

from django.db import transaction

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Intake, LanguageModel
from ftportal.checkpoints.selectors import intakes_given_up
from ftportal.checkpoints.services import (
    CheckpointError,
    language_model_register,
    model_folder_name,
    model_name_check,
    model_register_in_place,
)
from ftportal.checkpoints.storage import model_move_in
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_submit
from training.config.intake import FETCHED_NAME

INTAKE_KIND = "intake"
_OUTPUTS = "attempts/*/output"


def model_take_in(
    *, name: str, source: str, note: str, licence: str, directory: Path, submitter: User | None
) -> LanguageModel:
    """Register a model and have a worker look at it. Raises as `language_model_register` does."""
    model = language_model_register(
        name=name, source=source, note=note, licence=licence, directory=directory
    )
    model_look(language_model=model, submitter=submitter)
    return model


def intakes_drop() -> None:
    """Remove what was fetched of models that have not been registered for a week."""
    for intake in intakes_given_up():
        for left in [intake.job.directory / FETCHED_NAME, *intake.job.directory.glob(_OUTPUTS)]:
            shutil.rmtree(left, ignore_errors=True)


@transaction.atomic
def model_look(*, language_model: LanguageModel, submitter: User | None) -> Intake:
    """Have a worker look at a model that was just registered: its class, what is taught of it."""
    job = job_submit(
        kind=INTAKE_KIND, title=f"Look at {language_model}"[:200], created_by=submitter
    )
    return Intake.objects.create(name=language_model.name, language_model=language_model, job=job)


@transaction.atomic
def model_fetch(
    *, name: str, hub_id: str, revision: str, note: str, licence: str, submitter: User | None
) -> Intake:
    """Have a worker fetch a model from the hub and register it. Raises CheckpointError."""
    model_name_check(name)
    job = job_submit(kind=INTAKE_KIND, title=f"Fetch {hub_id}"[:200], created_by=submitter)
    intake = Intake(
        name=name, hub_id=hub_id, revision=revision, note=note, licence=licence, job=job
    )
    intake.full_clean()
    intake.save()
    record("model.fetched", intake, after={"hub_id": hub_id, "revision": revision})
    return intake


def intake_finish(*, job: Job) -> None:
    """Register the model that a job has fetched. Idempotent, safe to repeat after a crash.

    Its files are checked as those of any other model are, and moved instead of copied.
    """
    intake = Intake.objects.filter(job=job).first()
    if intake is None or not intake.hub_id or job.state != JobState.SUCCEEDED:
        return
    if intake.language_model_id or intake.refusal:
        return
    directory = model_move_in(
        job.output_directory, f"{model_folder_name(intake.name)}-{job.pk.hex[:8]}"
    )
    model = LanguageModel(
        name=_model_name_free(intake.name),
        source=intake.source,
        note=intake.note,
        licence=intake.licence or str(intake.findings.get("licence", ""))[:80],
    )
    row = Intake.objects.filter(pk=intake.pk)
    try:
        model_register_in_place(directory, model, publish=lambda: row.update(language_model=model))
    except CheckpointError as error:
        row.update(refusal=str(error)[:500])
        shutil.rmtree(directory, ignore_errors=True)


def _model_name_free(name: str) -> str:
    """The name that was asked for, with a number where another model has taken it meanwhile."""
    free, number = name, 2
    while LanguageModel.objects.filter(name=free).exists():
        free, number = f"{name[:110]} ({number})", number + 1
    return free
