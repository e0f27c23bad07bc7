"""What pages say about the files that were read again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import HeldOutSet
from ftportal.jobs.models import LIVE_STATES
from ftportal.promotions.models import Reread, RereadThing
from ftportal.promotions.rereading import KIND
from ftportal.promotions.stages import anchors_and_champions

OVERDUE_AFTER = timedelta(hours=48)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something about files that people have to know."""

    headline: str
    text: str
    url: str
    link: str
    """The words of the link to `url`."""
    since: datetime | None = None
    """When it was found."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a checkpoint's files stand."""

    thing: RereadThing | None
    """What was found the last time; None where they were never read again."""
    live: Reread | None
    """A reading that waits or goes on."""
    is_nightly: bool
    """Whether they are read every night: those of a champion and of an anchor."""


def reading_of(checkpoint: Checkpoint) -> Reading:
    """How a checkpoint's files stand."""
    anchors, champions = anchors_and_champions()
    model = checkpoint.language_model_id
    is_nightly = checkpoint.pk in (anchors.get(model), champions.get(model))
    of_it = Q(checkpoint=checkpoint)
    if is_nightly:
        of_it |= Q(checkpoint=None, language_model=model)
    live = Reread.objects.filter(of_it, job__state__in=LIVE_STATES).select_related("job")
    return Reading(
        thing=checkpoint.rereads.order_by("-read_at", "-pk").first(),
        live=live.first(),
        is_nightly=is_nightly,
    )


def reread_notices() -> list[Notice]:
    """What is wrong with champions, anchors and texts, and what was not read for long."""
    return [*_weights(), *_texts(), *_overdue()]


def _weights() -> Iterator[Notice]:
    newest = RereadThing.objects.filter(checkpoint=OuterRef("checkpoint"))
    things = RereadThing.objects.exclude(problem="").filter(
        pk=Subquery(newest.order_by("-read_at", "-pk").values("pk")[:1])
    )
    thing_of = {thing.checkpoint_id or 0: thing for thing in things}
    if not thing_of:
        return
    anchors, champions = anchors_and_champions()
    standing = thing_of.keys() & {*anchors.values(), *champions.values()}
    for checkpoint in Checkpoint.objects.filter(pk__in=standing).select_related("language_model"):
        thing = thing_of[checkpoint.pk]
        model = checkpoint.language_model
        is_champion = champions.get(model.pk) == checkpoint.pk
        cure = "Put the files back from a backup, then read them again"
        if is_champion and not checkpoint.is_pretrained:
            cure += ", or roll back to an earlier champion"
        what = "the champion" if is_champion else "the pre-trained anchor"
        yield Notice(
            headline=f"{checkpoint}, {what} of {model}, is not what it was.",
            text=f"{_sentence(thing.problem)} Nothing is trained, measured or promoted from it. "
            f"{cure}.",
            url=reverse("checkpoints:checkpoint", args=[checkpoint.pk]) + "#files",
            link="See its files",
            since=thing.read_at,
        )


def _texts() -> Iterator[Notice]:
    last = Reread.objects.filter(language_model=None).exclude(finished_at=None).first()
    for thing in last.things.exclude(problem="") if last else ():
        yield Notice(
            headline=f"The {thing.what} differ from what was kept."
            if thing.what.startswith("prompts")
            else f"The {thing.what} is not what it was.",
            text=f"{_sentence(thing.problem)} Nothing is measured or reviewed by it. Put it back "
            "from a backup, or upload it anew.",
            url=reverse("jobs:jobs") + f"?kind={KIND}",
            link="See when it was read",
            since=thing.read_at,
        )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _overdue() -> Iterator[Notice]:
    limit = timezone.now() - OVERDUE_AFTER
    finished = Reread.objects.filter(checkpoint=None).exclude(finished_at=None).order_by()
    last = dict(finished.values_list("language_model").annotate(last=Max("finished_at")))
    late = [
        f"champion and anchor of {model}"
        for model in LanguageModel.objects.filter(created_at__lt=limit)
        if last.get(model.pk, limit) <= limit
    ]
    if last.get(None, limit) <= limit and HeldOutSet.objects.filter(created_at__lt=limit).exists():
        late.append("the texts that measure")
    if late:
        yield Notice(
            headline="Files were not read again for more than 48 hours: " + ", ".join(late) + ".",
            text="That should happen every night, so that a change on the disk is found before "
            "the file is needed. See whether the jobs failed, and whether a worker serves the "
            "queue default.",
            url=reverse("jobs:jobs") + f"?kind={KIND}",
            link="See the jobs",
        )
