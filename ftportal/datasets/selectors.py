"""What pages and other floors read about data sets."""

import hashlib
import json
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from django.db.models import PROTECT, Count, Q, QuerySet

from ftportal.datasets.models import (
    Batch,
    BatchState,
    ColumnShape,
    HeldOutSet,
    Prompt,
    PromptGroup,
    PromptSet,
)


def batch_list(*, text: str = "", kind: str = "", state: str = "") -> QuerySet[Batch]:
    """Batches for the list page; empty arguments do not filter."""
    batches = Batch.objects.select_related("language_model", "uploaded_by")
    if text:
        batches = batches.filter(
            Q(name__icontains=text) | Q(tags__icontains=text) | Q(note__icontains=text)
        )
    if kind:
        batches = batches.filter(kind=kind)
    if state:
        batches = batches.filter(state=state)
    return batches


def batches_ready(language_model: Any = None) -> QuerySet[Batch]:
    """Batches that a run may use, newest first; of one model if given."""
    batches = Batch.objects.filter(state=BatchState.READY, withdrawn_at__isnull=True)
    return batches if language_model is None else batches.filter(language_model=language_model)


def batch_versions(batch: Batch) -> list[Batch]:
    """All versions of a batch in their order, itself too; empty where it is the only one."""
    first = batch.version_of or batch
    versions = [first, *first.versions.order_by("version")]
    return versions if len(versions) > 1 else []


def shape_of(columns: Collection[str]) -> str:
    """A hash of a file's columns, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(columns)).encode()).hexdigest()


def columns_remembered(columns: Collection[str]) -> dict[str, str]:
    """What these columns were said to be the last time; empty where they are new."""
    known = ColumnShape.objects.filter(shape=shape_of(columns)).first()
    return dict(known.columns) if known else {}


def batch_uses(batch: Batch) -> list[str]:
    """In words, what on the floors above refers to a batch and so keeps it from deletion."""
    uses: list[str] = []
    for relation in Batch._meta.related_objects:
        if getattr(relation, "on_delete", None) is PROTECT:
            rows = relation.related_model._default_manager.filter(**{relation.field.name: batch})
            uses += [str(one) for one in rows[:5]]
    return uses


def held_out_documents(held_out_set: HeldOutSet, start: int, stop: int) -> list[str]:
    """Documents start..stop-1 of a held-out set; none where its file is gone."""
    try:
        with held_out_set.path.open(encoding="utf-8") as stream:
            return [json.loads(line)["text"] for line in islice(stream, start, stop)]
    except OSError:
        return []


def held_out_set_list(*, text: str = "") -> QuerySet[HeldOutSet]:
    """Held-out sets whose name, domain or source has `text`; empty does not filter."""
    sets = HeldOutSet.objects.all()
    if text:
        sets = sets.filter(
            Q(name__icontains=text) | Q(domain__icontains=text) | Q(source__icontains=text)
        )
    return sets


def prompt_set_list(*, text: str = "") -> QuerySet[PromptSet]:
    """Prompt sets with their `prompt_count`, by a text in their name; empty does not filter."""
    sets = PromptSet.objects.annotate(prompt_count=Count("prompts"))
    return sets.filter(name__icontains=text) if text else sets


def prompts_by_group(prompt_set: PromptSet) -> Sequence[tuple[str, list[Prompt]]]:
    """The groups of a prompt set that have prompts, in words, with their prompts in order."""
    prompts = list(prompt_set.prompts.all())
    groups = ((str(label), value) for value, label in PromptGroup.choices)
    groups_with_prompts = (
        (label, [one for one in prompts if one.group == value]) for label, value in groups
    )
    return [(label, members) for label, members in groups_with_prompts if members]
