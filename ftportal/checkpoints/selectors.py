"""What pages and other floors read about checkpoints."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from engine.architectures import code_words
from engine.manifest import ManifestError, manifest_read
from engine.process import BAD_INPUT
from ftportal.accounts.models import Role, User
from ftportal.checkpoints.models import FETCHED_KEPT, Checkpoint, Intake, LanguageModel
from ftportal.jobs.models import ENDED_STATES, JobState

CHAMPION = "champion"


def models_hidden_from(user: Any) -> Iterable[int]:
    """Keys of the restricted models of which a person, who may not be logged in, sees nothing."""
    if isinstance(user, User) and user.has_role(Role.ADMINISTRATOR):
        return ()
    restricted = LanguageModel.objects.filter(is_restricted=True).values_list("pk", flat=True)
    return restricted.exclude(people=user) if isinstance(user, User) else restricted


def champion(language_model: LanguageModel) -> Checkpoint:
    """The checkpoint that the alias champion names; the pre-trained one while there is none."""
    alias = (
        language_model.aliases.filter(name=CHAMPION)
        .select_related("checkpoint", "checkpoint__language_model")
        .first()
    )
    return alias.checkpoint if alias else language_model.pretrained


def lineage(checkpoint: Checkpoint) -> list[Checkpoint]:
    """The checkpoint and its ancestors, the pre-trained anchor first.

    One query for all of a model's parents, whatever the depth.
    """
    model_id = checkpoint.language_model_id
    all_of_model = {
        one.pk: one
        for one in Checkpoint.objects.filter(language_model_id=model_id).select_related("parent")
    }
    path = []
    at: Checkpoint | None = all_of_model.get(checkpoint.pk, checkpoint)
    while at is not None:
        path.append(at)
        at = all_of_model.get(at.parent_id) if at.parent_id is not None else None
    return path[::-1]


def checkpoints_available(language_model: LanguageModel | None = None) -> QuerySet[Checkpoint]:
    """Checkpoints whose files are there, newest first; of one model if given."""
    checkpoints = Checkpoint.objects.filter(deleted_at__isnull=True).select_related(
        "language_model"
    )
    return (
        checkpoints if language_model is None else checkpoints.filter(language_model=language_model)
    )


def checkpoint_list(
    *, model_name: str = "", text: str = "", deleted: bool = False
) -> QuerySet[Checkpoint]:
    """Checkpoints for the list page, filtered by the model's name and by text in
    their name, tags or note."""
    checkpoints = Checkpoint.objects.select_related("language_model", "parent").prefetch_related(
        "aliases"
    )
    if not deleted:
        checkpoints = checkpoints.filter(deleted_at__isnull=True)
    if model_name:
        checkpoints = checkpoints.filter(language_model__name=model_name)
    if text:
        checkpoints = checkpoints.filter(
            Q(name__icontains=text) | Q(tags__icontains=text) | Q(note__icontains=text)
        )
    return checkpoints


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """One file as the manifest names it."""

    name: str
    size_bytes: int
    sha256: str


def checkpoint_files(checkpoint: Checkpoint) -> Sequence[CheckpointFile]:
    """The files of a checkpoint from its manifest; none where they are gone or unreadable."""
    try:
        manifest = manifest_read(checkpoint.directory)
    except ManifestError:
        return []
    return [
        CheckpointFile(name=name, size_bytes=entry["size_bytes"], sha256=entry["sha256"])
        for name, entry in sorted(manifest["files"].items())
    ]


@dataclass(frozen=True, kw_only=True)
class Distances:
    """How far a checkpoint's weights lie from others: L2 norms of the difference.

    Relative ones are divided by the other's own norm. None where it was not measured.
    """

    parent: float | None
    parent_relative: float | None
    pretrained: float | None
    pretrained_relative: float | None


def checkpoint_distances(checkpoint: Checkpoint) -> Distances:
    """The distances that the engine left beside the weights in displacement.json.

    Where the files are gone, the one that the database keeps.
    """
    record = _displacement_read(checkpoint)
    parent, parent_relative = _lengths(record.get("parent"))
    pretrained, pretrained_relative = _lengths(record.get("pretrained"))
    if pretrained is None:
        pretrained = checkpoint.displacement_pretrained
    if checkpoint.parent is not None and checkpoint.parent.is_pretrained:
        # One distance, whichever of the two the engine has measured.
        parent = pretrained if parent is None else parent
        pretrained_relative = pretrained_relative or parent_relative
    return Distances(
        parent=parent,
        parent_relative=parent_relative,
        pretrained=pretrained,
        pretrained_relative=pretrained_relative,
    )


def _displacement_read(checkpoint: Checkpoint) -> dict[str, Any]:
    try:
        record = json.loads((checkpoint.directory / "displacement.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _lengths(record: Any) -> tuple[float | None, float | None]:
    lengths = record if isinstance(record, dict) else {}
    norm, relative = (lengths.get(name) for name in ("norm", "relative"))
    return (
        float(norm) if isinstance(norm, int | float) else None,
        float(relative) if isinstance(relative, int | float) else None,
    )


def intake_of(language_model: LanguageModel) -> Intake | None:
    """What a worker has found out about a model; None where none was asked."""
    return Intake.objects.filter(language_model=language_model).select_related("job").first()


def intakes_open() -> QuerySet[Intake]:
    """Models that are being fetched, or could not be within the last week, newest first."""
    return _unregistered().exclude(job__finished_at__lt=timezone.now() - FETCHED_KEPT)


def intakes_given_up() -> QuerySet[Intake]:
    """Models that could not be fetched, and that nobody went on with for a week."""
    ended = _unregistered().filter(job__state__in=ENDED_STATES, job__finish_handled=True)
    return ended.filter(job__finished_at__lt=timezone.now() - FETCHED_KEPT)


def _unregistered() -> QuerySet[Intake]:
    return Intake.objects.filter(language_model__isnull=True).select_related("job")


def model_refusal(language_model: LanguageModel) -> Intake | None:
    """The intake that refused a model; None where it may be taught, or is not known yet."""
    intake = intake_of(language_model)
    if intake is None or intake.job.state != JobState.FAILED:
        return None
    return intake if intake.job.exit_code == BAD_INPUT else None


def code_notice(checkpoint: Checkpoint) -> str:
    """A sentence about code in a checkpoint's directory, which is never run; "" without any."""
    try:
        config = json.loads((checkpoint.directory / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    return code_words(checkpoint.directory, config) if isinstance(config, dict) else ""
