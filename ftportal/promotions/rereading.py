"""What is read again every night, when a night begins, and the job that does it."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from engine.seals import Seal
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import HeldOutSet
from ftportal.datasets.seals import held_out_seals
from ftportal.evaluations.models import OwnBenchmark
from ftportal.jobs.models import Job
from ftportal.promotions.models import Reread

KIND = "reread"


def night_of(now: datetime) -> datetime:
    """When the night began that `now` belongs to: the last time that the clock showed the hour.

    Going by this and by what the database has, a night is not missed when beat or the whole portal
    was off at that hour: it is made up for afterwards.
    """
    here = timezone.localtime(now)
    began = here.replace(hour=settings.FTPORTAL_REREAD_HOUR, minute=0, second=0, microsecond=0)
    return began if began <= here else began - timedelta(days=1)


def checkpoints_of(language_model: LanguageModel) -> list[Checkpoint]:
    """What is read of a model every night: its anchor, and its champion where that is another."""
    both = (language_model.pretrained, champion(language_model))
    return list({one.pk: one for one in both}.values())


def reread_config(job: Job) -> dict[str, Any]:
    """config.json of a job that reads again."""
    reread = Reread.objects.select_related("language_model", "checkpoint").get(job=job)
    return {"things": [asdict(seal) for seal in things_of(reread)]}


def things_of(reread: Reread) -> list[Seal]:
    """What has to be read, each with the hash that the database holds."""
    if reread.checkpoint is not None:
        return checkpoint_seals(reread.checkpoint)
    if reread.language_model is not None:
        return checkpoint_seals(*checkpoints_of(reread.language_model))
    return list(_texts())


def _texts() -> Iterable[Seal]:
    for held_out_set in HeldOutSet.objects.all():
        yield from held_out_seals(held_out_set)
    for own in OwnBenchmark.objects.all():
        yield Seal(what=f"benchmark {own}", path=str(own.path), sha256=own.content_hash)
