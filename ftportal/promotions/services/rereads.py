"""Files are read again: every night, or when somebody asks. What differs is told."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import HeldOutSet, PromptSet
from ftportal.datasets.seals import is_as_sealed
from ftportal.evaluations.models import OwnBenchmark
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.jobs.services import job_submit
from ftportal.promotions.models import Reread, RereadThing
from ftportal.promotions.rereading import KIND, night_of
from ftportal.promotions.services.champions import PromotionRefusedError


@transaction.atomic
def reread_request(*, checkpoint: Checkpoint, asked_by: User) -> Reread:
    """Have a checkpoint's files read again; who asks while that goes on gets the same one.

    Raises PromotionRefusedError where the files were deleted.
    """
    current = Checkpoint.objects.select_for_update().get(pk=checkpoint.pk)
    if current.deleted_at is not None:
        message = f"The files of {current} were deleted."
        raise PromotionRefusedError(message, "Nothing is left to read.")
    live = Reread.objects.filter(checkpoint=current, job__state__in=LIVE_STATES).first()
    if live is not None:
        return live
    title = f"Read the files of {current} again"
    made = Reread.objects.create(
        language_model=current.language_model,
        checkpoint=current,
        asked_by=asked_by,
        job=job_submit(kind=KIND, title=title[:200], created_by=asked_by),
    )
    record("files.reread", current, actor=asked_by)
    return made


def rereads_nightly() -> None:
    """Have every champion, anchor and text read that this night has not seen to yet.

    Called by beat's sweep again and again; what came after the night began is hashed already.
    """
    night = night_of(timezone.now())
    seen = set(Reread.objects.filter(night=night).values_list("language_model", flat=True))
    for model in LanguageModel.objects.filter(created_at__lt=night).exclude(pk__in=seen - {None}):
        _nightly(night, model, f"Read champion and anchor of {model} again")
    if None not in seen and _texts_are_older_than(night):
        _nightly(night, None, "Read the texts that measure again")


def _texts_are_older_than(night: datetime) -> bool:
    tables: tuple[type[Model], ...] = (HeldOutSet, PromptSet, OwnBenchmark)
    return any(one._default_manager.filter(created_at__lt=night).exists() for one in tables)


def _nightly(night: datetime, model: LanguageModel | None, title: str) -> None:
    try:
        with transaction.atomic():
            job = job_submit(kind=KIND, title=title[:200], created_by=None)
            Reread.objects.create(language_model=model, night=night, job=job)
    except IntegrityError:
        pass  # another sweep was faster


def reread_finish(job: Job) -> None:
    """Store what was found; idempotent. What differs, and did not the last time, is audited."""
    if job.state != JobState.SUCCEEDED:
        return
    reread = Reread.objects.select_related("asked_by").get(job=job)
    report = json.loads((job.output_directory / "report.json").read_text(encoding="utf-8"))
    if reread.language_model_id is None:
        report += _prompt_sets()
    now = timezone.now()
    with transaction.atomic():
        if not Reread.objects.filter(pk=reread.pk, finished_at=None).update(finished_at=now):
            return
        hashes = [one["sha256"] for one in report]
        there = Checkpoint.objects.filter(deleted_at=None, manifest_hash__in=hashes)
        by_hash = {one.manifest_hash: one for one in there}
        for one in report:
            checkpoint = by_hash.get(one["sha256"])
            if checkpoint is not None or reread.language_model_id is None:
                _store(reread, one, checkpoint, now)


def _store(
    reread: Reread, said: Mapping[str, Any], checkpoint: Checkpoint | None, now: datetime
) -> None:
    before = RereadThing.objects.filter(sha256=said["sha256"]).order_by("-read_at", "-pk").first()
    RereadThing.objects.create(
        reread=reread,
        checkpoint=checkpoint,
        what=said["what"][:300],
        sha256=said["sha256"],
        file_count=said["files"],
        size_bytes=said["size_bytes"],
        problem=said["problem"],
        read_at=now,
    )
    if said["problem"] and (before is None or before.problem != said["problem"]):
        record(
            "files.differ",
            checkpoint,
            after={"what": said["what"], "problem": said["problem"]},
            actor=reread.asked_by,
        )


def _prompt_sets() -> Iterable[dict[str, Any]]:
    """Prompts lie in the database: their hashes are taken here, in the worker."""
    for prompt_set in PromptSet.objects.prefetch_related("prompts"):
        prompts = list(prompt_set.prompts.all())
        changed = next((one.position for one in prompts if not is_as_sealed(one)), None)
        problem = f"prompt {changed} was changed in the database after it was made"
        yield {
            "what": f"prompts {prompt_set}",
            "sha256": f"prompts {prompt_set.pk}",
            "files": len(prompts),
            "size_bytes": 0,
            "problem": problem if changed is not None else "",
        }
