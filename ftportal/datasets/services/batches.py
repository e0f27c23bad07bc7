"""Uploading batches, having them read, and deleting them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.files import File
from django.db import IntegrityError, transaction

from corpus.reasoning import LEARN
from engine.manifest import file_sha256
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.asking.services import arguments_known_check
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import CheckpointError
from ftportal.datasets.models import WORKING_STATES, Batch, BatchState, Upload
from ftportal.datasets.options import options_check, variant_of
from ftportal.datasets.selectors import batch_uses
from ftportal.datasets.services.errors import DatasetError
from ftportal.datasets.uploads import Kept, UploadRefusedError, file_keep, incoming_path
from ftportal.jobs.services import job_submit


def batch_upload(
    *,
    uploaded_by: User | None,
    language_model: LanguageModel,
    name: str,
    kind: str,
    decision_rule: str,
    file: File | None = None,
    upload: Upload | None = None,
    reasoning: str = LEARN,
    options: Mapping[str, Any] | None = None,
    origin: str = "",
) -> Batch:
    """Keep an uploaded file as a batch and queue its reading; the batch says how that ends.

    file, streamed to disk, or upload: one that has arrived in pieces. Raises UploadRefusedError,
    with nothing kept, when it is empty, too large, not whole, the same as a batch that is there for
    this model and these choices, or where the model's template does not know an argument.
    """
    arguments = _template_arguments(language_model, options or {})
    filename, incoming, kept = _incoming(file, upload)
    checked = options_check({**(options or {}), "template_arguments": arguments})
    batch = Batch(
        name=name.strip() or Path(filename).stem[:120],
        kind=kind,
        language_model=language_model,
        decision_rule=decision_rule,
        reasoning=reasoning,
        options=checked,
        variant=variant_of(checked),
        origin=origin,
        filename=filename,
        sha256=kept.sha256,
        size_bytes=kept.size_bytes,
        uploaded_by=uploaded_by,
    )
    try:
        return _batch_create(batch, incoming)
    except IntegrityError:
        raise same_file(batch) from None
    finally:
        incoming.unlink(missing_ok=True)


def _template_arguments(model: LanguageModel, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is set to, and before it what the upload says."""
    given = options.get("template_arguments", {})
    try:
        arguments_known_check(model, given)
    except CheckpointError as error:
        raise UploadRefusedError(error.message, error.cure) from error
    return {**model.template_arguments, **given}


def _incoming(file: File | None, upload: Upload | None) -> tuple[str, Path, Kept]:
    """The file's name, where it lies now, and what it is."""
    incoming = incoming_path("batches")
    if upload is not None:
        if not upload.is_whole or not upload.path.is_file():
            raise UploadRefusedError("The file has not arrived as a whole.", "Upload the rest.")
        incoming.parent.mkdir(parents=True, exist_ok=True)
        upload.path.replace(incoming)
        upload.delete()
        kept = Kept(sha256=file_sha256(incoming), size_bytes=incoming.stat().st_size)
        return upload.filename, incoming, kept
    if file is None:
        raise UploadRefusedError("There is no file.", "Choose one.")
    return Path(file.name or "batch.jsonl").name[-255:], incoming, file_keep(file, incoming)


@transaction.atomic
def _batch_create(batch: Batch, incoming: Path) -> Batch:
    if twin_of(batch) is not None:
        raise same_file(batch)
    batch.full_clean(validate_constraints=False)
    batch.save()
    shutil.rmtree(batch.directory, ignore_errors=True)
    batch.directory.mkdir(parents=True)
    incoming.replace(batch.source_path)
    batch_read(batch)
    after = {"file": batch.filename, "sha256": batch.sha256, "rule": batch.decision_rule}
    record("batch.uploaded", batch, after=after)
    return batch


def batch_read(batch: Batch) -> None:
    """Queue the reading of a batch's file by its choices, in the caller's transaction."""
    batch.state = BatchState.READING
    batch.job = job_submit(
        kind="ingest", title=f"Read {batch.name}"[:200], created_by=batch.uploaded_by
    )
    batch.report = {}
    batch.save()


def batch_count(batch: Batch) -> None:
    """Queue the counting of a batch's tokens, in the caller's transaction."""
    batch.state = BatchState.COUNTING
    batch.job = job_submit(
        kind="count", title=f"Count {batch.name}"[:200], created_by=batch.uploaded_by
    )
    batch.save()


def twin_of(batch: Batch) -> Batch | None:
    """The batch that holds the same file by the same choices, if there is one."""
    return (
        Batch.objects.filter(
            sha256=batch.sha256,
            language_model=batch.language_model,
            decision_rule=batch.decision_rule,
            reasoning=batch.reasoning,
            variant=batch.variant,
        )
        .exclude(state=BatchState.REFUSED)
        .exclude(pk=batch.pk)
        .first()
    )


def same_file(batch: Batch) -> UploadRefusedError:
    """The refusal of a file that is there already."""
    twin = twin_of(batch)
    return UploadRefusedError(
        f"This very file is there already, as the batch {twin}.",
        "Use that batch, or choose another decision rule.",
        twin,
    )


def batch_delete(*, batch: Batch) -> None:
    """Delete a batch that no run used, with its files. Raises DatasetError otherwise."""
    with transaction.atomic():
        current = Batch.objects.select_for_update().get(pk=batch.pk)
        if current.state in WORKING_STATES:
            raise DatasetError("It is still being read.", "Wait until that has ended, or stop it.")
        if uses := batch_uses(current):
            raise DatasetError(f"It was used: {', '.join(uses)}.", "What a run learned stays.")
        directory = current.directory
        record("batch.deleted", current, before={"sha256": current.sha256})
        current.delete()
        transaction.on_commit(lambda: shutil.rmtree(directory, ignore_errors=True))
