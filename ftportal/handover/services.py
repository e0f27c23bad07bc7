"""Changes of what leaves the portal: alias folders, exports, and what downloads find."""

import logging
from typing import Any

from django.db import IntegrityError, connection, transaction

from engine.errors import ProblemError
from engine.manifest import ManifestError, manifest_check
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import CHAMPION
from ftportal.checkpoints.services import checkpoint_register
from ftportal.evaluations.services import default_measure
from ftportal.handover.aliases import aliases_directory, folder_locked, link_set, note_set
from ftportal.handover.models import AliasFolder, Damage, Export
from ftportal.handover.naming import safe_name
from ftportal.handover.selectors import export_refusal, export_size_bytes, free_bytes
from ftportal.handover.sharing import directory_share, serving_gid
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import can_start_again
from ftportal.jobs.services import job_resume, job_submit
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.selectors import champion_event
from training.config.export import QUANTISATIONS

logger = logging.getLogger(__name__)
KIND = "export"
_ROOM_BYTES = 1 << 30
"""Left free on the disk by an export: the database and the runs need room too."""


class ExportRefusedError(ProblemError):
    """A checkpoint cannot be exported."""


def alias_publish(*, language_model: LanguageModel) -> bool:
    """Let the alias folder follow the ledger; whether anything changed. Idempotent.

    The ledger is read with the folder locked, so of two at once the last one writes the newest.
    """
    folder = aliases_directory() / folder_of(language_model).name
    with folder_locked(folder):
        event = champion_event(language_model)
        if event is None:
            return False
        gid = serving_gid()
        if gid is not None:  # before the link moves, so that nobody finds a closed door
            directory_share(event.to_checkpoint.directory, gid)
        moved = link_set(folder / CHAMPION, event.to_checkpoint.directory)
        noted = note_set(folder / f"{CHAMPION}.json", _note(event), 0o640 if gid else 0o600)
        if gid is not None:
            directory_share(folder, gid)
    return moved or noted


def _note(event: PromotionEvent) -> dict[str, Any]:
    checkpoint = event.to_checkpoint
    return {
        "model": checkpoint.language_model.name,
        "checkpoint": checkpoint.name,
        "manifest_sha256": checkpoint.manifest_hash,
        "ledger_entry": event.number,
        "ledger_hash": event.hash,
        "action": event.action,
        "since": event.created_at.isoformat(),
    }


def folder_of(language_model: LanguageModel) -> AliasFolder:
    """The model's alias folder, named after it once: renaming the model moves no server's path."""
    known = AliasFolder.objects.filter(language_model=language_model).first()
    if known is not None:
        return known
    wanted = name = safe_name(language_model.name).lower()
    number = 2
    while AliasFolder.objects.everything().filter(name=name).exists():
        name, number = f"{wanted}-{number}", number + 1
    try:
        with transaction.atomic():
            return AliasFolder.objects.create(language_model=language_model, name=name)
    except IntegrityError:  # somebody else was here first, for this model or for that name
        return folder_of(language_model)


def aliases_sweep() -> None:
    """Mend the alias folder of every model; one that cannot be mended stops no other."""
    for language_model in LanguageModel.objects.all():
        try:
            if alias_publish(language_model=language_model):
                logger.warning("the alias folder of %s was behind its ledger", language_model)
        except (OSError, KeyError) as error:
            logger.error("the alias folder of %s cannot be written: %s", language_model, error)


@transaction.atomic
def export_request(*, source: Checkpoint, quantisation: str, submitter: User | None) -> Export:
    """The export of a checkpoint, queued where it is missing. Raises ExportRefusedError.

    One that is there, waits or works stays as it is; one that failed, was stopped or was deleted is
    made again.
    """
    if quantisation not in QUANTISATIONS:
        known = " or ".join(QUANTISATIONS)
        raise ExportRefusedError(f"{quantisation} is not known.", f"Choose {known}.")
    source = Checkpoint.objects.select_for_update(of=("self",)).get(pk=source.pk)
    if refusal := export_refusal(source):
        raise ExportRefusedError(f"{source} cannot be exported. {refusal}")
    export = (
        Export.objects.filter(source=source, quantisation=quantisation)
        .select_related("job", "result", "source")
        .first()
    )
    if export is not None and (export.is_there or not export.job.is_settled):
        return export
    _room_check(source, quantisation)
    record("export.asked", source, after={"quantisation": quantisation})
    if export is not None and can_start_again(export.job):
        export.job = job_resume(job=export.job)
        return export
    export = export or Export(source=source, quantisation=quantisation)
    title = f"Export {export}"[:200]
    export.job = job_submit(kind=KIND, title=title, created_by=submitter)
    export.submitter = submitter
    export.save()
    return export


def _room_check(source: Checkpoint, quantisation: str) -> None:
    needed = export_size_bytes(source, quantisation) + _ROOM_BYTES
    free = free_bytes()
    if free < needed:
        raise ExportRefusedError(
            f"There is too little room on the disk: {free / 1e9:.1f} GB are free, and "
            f"{needed / 1e9:.1f} GB are needed.",
            "Delete exports or checkpoints that nobody needs.",
        )


def export_finish(*, job: Job) -> None:
    """Register what an export has written, and have it measured. Idempotent."""
    export = Export.objects.filter(job=job).select_related("source", "result", "submitter").first()
    if export is None or job.state != JobState.SUCCEEDED:
        return
    if not export.is_there:
        summary = export.summary
        export.result = checkpoint_register(
            parent=export.source,
            name=str(export),
            directory=job.output_directory,
            displacement_pretrained=None,
            is_export=True,
        )
        Damage.objects.filter(checkpoint=export.result).delete()  # of the file that it replaces
        export.file_name = summary["file"]
        export.file_sha256 = summary["file_sha256"]
        export.size_bytes = summary["size_bytes"]
        export.save()
    if export.result is not None:
        default_measure(checkpoint=export.result, created_by=export.submitter)


def download_record(
    *, checkpoint: Checkpoint, what: str, start: int, stop: int, size_bytes: int, user: User
) -> None:
    """Note in the audit log that somebody takes weights out of the portal."""
    after = {"what": what, "bytes": stop - start}
    if stop - start < size_bytes:
        after |= {"from_byte": start, "of": size_bytes}
    record("checkpoint.downloaded", checkpoint, after=after, actor=user)


def damage_note(*, checkpoint: Checkpoint, file_name: str, problem: str) -> None:
    """Keep that a file was found changed, for the checkpoint's page, and log it.

    Also called outside requests, from the web server's own loop.
    """
    logger.error("%s: %s", checkpoint, problem)
    try:
        with transaction.atomic():
            Damage.objects.update_or_create(
                checkpoint=checkpoint,
                file_name=file_name[:300],
                defaults={"problem": problem[:300]},
            )
            record("checkpoint.damaged", checkpoint, after={"file": file_name})
    finally:
        if not connection.in_atomic_block:  # no request's end closes it there
            connection.close()


@transaction.atomic
def damages_check(*, checkpoint: Checkpoint) -> str:
    """Hash all files again; what is wrong with the first damaged one, empty where all are whole.

    Damage that was noted is forgotten where there is none any more.
    """
    try:
        manifest = manifest_check(checkpoint.directory)
        if manifest["sha256"] != checkpoint.manifest_hash:
            return "The manifest is not the one that it was registered with."
    except (ManifestError, OSError) as error:
        return f"{error}."
    deleted, _ = Damage.objects.filter(checkpoint=checkpoint).delete()
    if deleted:
        record("checkpoint.mended", checkpoint)
    return ""
