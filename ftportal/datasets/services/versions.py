"""New versions of a batch: the same file read by other choices, for a stated reason."""

import os
import shutil
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.datasets.models import REFUSED_KEPT, Batch, BatchState
from ftportal.datasets.options import options_check, variant_of
from ftportal.datasets.services.batches import batch_read, same_file, twin_of
from ftportal.datasets.services.errors import DatasetError


@transaction.atomic
def batch_version(
    *,
    batch: Batch,
    made_by: User,
    reason: str,
    options: Mapping[str, Any] | None = None,
    decision_rule: str = "",
    reasoning: str = "",
) -> Batch:
    """Read the file of a batch again by other choices, as a new version of it.

    What the version before was told holds for this one too, with `options` on top. Raises
    DatasetError without a reason or without the file, UploadRefusedError where a version by the
    same choices is there already.
    """
    if not reason.strip():
        raise DatasetError("A new version needs a reason.", "Say in a few words what it is for.")
    if batch.withdrawn_at:
        raise DatasetError("It was withdrawn, and its file trains nothing more.", "Upload another.")
    if not batch.source_path.is_file():
        raise DatasetError("Its file is gone from the disk.", "Upload the file again.")
    first = batch.version_of or batch
    merged = options_check({**batch.options, **(options or {})})
    made = Batch(
        name=batch.name,
        kind=batch.kind,
        language_model=batch.language_model,
        decision_rule=decision_rule or batch.decision_rule,
        reasoning=reasoning or batch.reasoning,
        options=merged,
        variant=variant_of(merged),
        filename=batch.filename,
        sha256=batch.sha256,
        size_bytes=batch.size_bytes,
        uploaded_by=made_by,
        version_of=first,
        version=1 + (first.versions.aggregate(most=Max("version"))["most"] or 1),
        version_reason=reason.strip()[:300],
    )
    if twin_of(made) is not None:
        raise same_file(made)
    made.save()
    shutil.rmtree(made.directory, ignore_errors=True)
    made.directory.mkdir(parents=True)
    os.link(batch.source_path, made.source_path)  # no file is ever changed
    batch_read(made)
    said = {name: value for name, value in (options or {}).items() if name != "leave_out"}
    record("batch.version", made, after=said, reason=made.version_reason)
    return made


def refused_files_drop() -> None:
    """Remove the files of batches that were refused longer ago than REFUSED_KEPT."""
    before = timezone.now() - REFUSED_KEPT
    for batch in Batch.objects.filter(state=BatchState.REFUSED, refused_at__lt=before):
        shutil.rmtree(batch.directory, ignore_errors=True)
