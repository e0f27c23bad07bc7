"""Changes to language models, checkpoints and aliases."""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from corpus.confined import model_check
from engine.errors import ProblemError
from engine.manifest import MANIFEST_NAME, Manifest, ManifestError, manifest_write
from engine.modelcheck import Problem
from ftportal.accounts.models import User
from ftportal.audit.describing import describe
from ftportal.audit.services import record
from ftportal.checkpoints.foreign import ForeignDirectory, ForeignError
from ftportal.checkpoints.incoming import incoming_begin, incoming_sweep, room_check
from ftportal.checkpoints.models import Alias, Checkpoint, LanguageModel
from ftportal.checkpoints.signals import (
    alias_moved,
    checkpoint_delete_asked,
    checkpoint_registered,
)
from ftportal.checkpoints.storage import (
    models_directory,
    output_adopt,
    size_bytes,
    stored_path,
)


class CheckpointError(ProblemError):
    """Something cannot be done with a model or checkpoint.

    `problems` are the reasons one by one where a model's directory has several.
    """

    def __init__(self, message: str, cure: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, cure)
        self.problems = problems


def language_model_register(
    *, name: str, source: str, note: str, licence: str, directory: Path
) -> LanguageModel:
    """Register the model in `directory` with its pre-trained checkpoint, the rollback anchor.

    The files are copied into FTPORTAL_DATA unless they lie there already, and checked there: what
    is refused is refused within ten seconds, and nothing of it stays. The path has no link in it.
    Raises CheckpointError where the model cannot be used or is registered already.
    """
    model_name_check(name)
    models_sweep()
    model = LanguageModel(name=name, source=source, note=note, licence=licence)
    try:
        with ForeignDirectory(directory) as foreign:
            files = foreign.files()
            room_check(files)
            inside = directory.is_relative_to(models_directory().resolve())
            if inside and foreign.has_only_plain_files:
                return model_register_in_place(directory, model)
            with incoming_begin(model_folder_name(name)) as incoming:
                _refuse(incoming.look(foreign, files))
                manifest = incoming.fill(foreign, files)
                model.parameter_count = incoming.parameter_count
                return _create(model, incoming.published, manifest, publish=incoming.publish)
    except ForeignError as error:
        raise _refusal(
            Problem(where=error.where, message=error.message, cure=error.cure)
        ) from error
    except (ManifestError, OSError) as error:
        raise CheckpointError(f"The model's files cannot be read: {error}") from error


def models_sweep() -> None:
    """Remove what a crash has left of models that were being registered."""
    paths = Checkpoint.objects.everything().filter(path__startswith="models/")
    incoming_sweep(
        [models_directory() / Path(path).name for path in paths.values_list("path", flat=True)]
    )


def model_register_in_place(
    directory: Path, model: LanguageModel, publish: Callable[[], object] = lambda: None
) -> LanguageModel:
    """Register what lies in FTPORTAL_DATA already, where nobody else changes it."""
    check = model_check(directory)
    _refuse(check.problems)
    had_manifest = (directory / MANIFEST_NAME).exists()
    model.parameter_count = check.parameter_count
    try:
        return _create(model, directory, manifest_write(directory), publish=publish)
    except BaseException:
        if not had_manifest:
            (directory / MANIFEST_NAME).unlink(missing_ok=True)
        raise


def model_name_check(name: str) -> None:
    """Raise CheckpointError where a model cannot be called that."""
    if not name.strip():
        raise CheckpointError("The model has no name.", "Give it one.")
    if LanguageModel.objects.filter(name=name).exists():
        raise CheckpointError(
            f"A model named {name} is registered already.", "Choose another name."
        )


def model_folder_name(name: str) -> str:
    """What a model's folder is called, for the model's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"


def _create(
    model: LanguageModel, directory: Path, manifest: Manifest, *, publish: Callable[[], object]
) -> LanguageModel:
    """Make the rows of a model whose files will lie in `directory` once `publish`, called in the
    same transaction, has returned."""
    twin = Checkpoint.with_exports.filter(manifest_hash=manifest["sha256"]).first()
    if twin is not None:
        raise CheckpointError(
            f"These very files are registered already, as {twin}.", "Use that model."
        )
    try:
        with transaction.atomic():
            model.full_clean()
            model.save()
            checkpoint = Checkpoint(
                language_model=model,
                name=f"{model.name}, pre-trained",
                path=stored_path(directory),
                manifest_hash=manifest["sha256"],
                size_bytes=size_bytes(manifest),
                displacement_pretrained=0.0,
            )
            checkpoint.full_clean()
            checkpoint.save()
            record("model.registered", model, after={"sha256": manifest["sha256"]})
            _announce_on_commit(checkpoint)
            publish()
    except (ValidationError, IntegrityError) as error:
        raise CheckpointError(
            f"{model.name} was not registered: another one of that name or with these files was "
            "registered a moment ago, or a field is too long.",
            "Look at the list of checkpoints, then choose another name.",
        ) from error
    return model


def _announce_on_commit(checkpoint: Checkpoint) -> None:
    transaction.on_commit(
        lambda: checkpoint_registered.send_robust(sender=Checkpoint, checkpoint=checkpoint)
    )


@transaction.atomic
def model_people_set(
    *, language_model: LanguageModel, is_restricted: bool, people: Sequence[User]
) -> LanguageModel:
    """Let everybody see a model and all that hangs on it, or only these people.

    Administrators see it in any case. Names are kept while it is not restricted.
    """
    model = LanguageModel.objects.select_for_update().get(pk=language_model.pk)
    before = _seen_by(model)
    model.is_restricted = is_restricted
    model.save(update_fields=["is_restricted"])
    model.people.set(people)
    after = _seen_by(model)
    if after != before:
        record("model.people", model, before={"seen_by": before}, after={"seen_by": after})
    return model


def _seen_by(model: LanguageModel) -> list[str] | str:
    if not model.is_restricted:
        return "everybody"
    return [one.username for one in model.people.order_by("username")] or "administrators only"


def checkpoint_register(
    *,
    parent: Checkpoint,
    name: str,
    directory: Path,
    displacement_pretrained: float | None,
    is_export: bool = False,
) -> Checkpoint:
    """Make a checkpoint, child of `parent`, of an engine's output in `directory`.

    The directory is moved to checkpoints/<manifest hash> of FTPORTAL_DATA. Safe to repeat after a
    crash at any point, with the same arguments: the same weights are the same checkpoint, so the
    one that is there is returned, its files restored if they had been deleted. A name that is
    taken gets a number. Call it outside a transaction: the files are hashed. Raises ManifestError.
    """
    target, manifest = output_adopt(directory)
    known = Checkpoint.with_exports.filter(manifest_hash=manifest["sha256"]).first()
    if known is not None:
        if known.deleted_at is not None:
            Checkpoint.with_exports.filter(pk=known.pk).update(
                deleted_at=None, path=stored_path(target)
            )
            known.refresh_from_db()
        return known
    checkpoint = Checkpoint(
        language_model=parent.language_model,
        parent=parent,
        depth=parent.depth + 1,
        name=_name_free(parent.language_model, name),
        path=stored_path(target),
        manifest_hash=manifest["sha256"],
        size_bytes=size_bytes(manifest),
        displacement_pretrained=displacement_pretrained,
        is_export=is_export,
    )
    try:
        with transaction.atomic():
            checkpoint.save()
            _announce_on_commit(checkpoint)
    except IntegrityError:
        return Checkpoint.with_exports.get(manifest_hash=manifest["sha256"])
    return checkpoint


def _name_free(language_model: LanguageModel, name: str) -> str:
    name = name.strip()[:150] or "Checkpoint"
    of_model = Checkpoint.with_exports.filter(language_model=language_model)
    taken = set(of_model.filter(name__startswith=name).values_list("name", flat=True))
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def alias_set(*, language_model: LanguageModel, name: str, checkpoint: Checkpoint) -> Alias:
    """Let the alias `name` of a model point at `checkpoint`. Raises CheckpointError.

    It checks only that the checkpoint is the model's and has its files: who may promote what is a
    matter of promotions, which calls this beside its ledger entry, in one transaction.
    """
    current = Checkpoint.with_exports.select_for_update().get(pk=checkpoint.pk)
    if current.is_export:
        raise CheckpointError(
            f"{current} is an export of {current.parent}.", "Choose the checkpoint itself."
        )
    if current.language_model_id != language_model.pk:
        raise CheckpointError(f"{current} is not a checkpoint of {language_model}.")
    if current.deleted_at is not None:
        raise CheckpointError(f"The files of {current} were deleted.", "Choose another checkpoint.")
    alias, _ = Alias.objects.update_or_create(
        language_model=language_model, name=name, defaults={"checkpoint": current}
    )
    alias_moved.send(Alias, alias=alias)
    return alias


def checkpoint_delete(*, checkpoint: Checkpoint) -> None:
    """Delete a checkpoint's files; its row stays, so that lineage and ledger stay whole.

    Raises CheckpointError for the pre-trained anchor, for a checkpoint that an alias names or that
    has children, and where a floor above still needs it (`checkpoint_delete_asked`).
    """
    with transaction.atomic():
        current = Checkpoint.with_exports.select_for_update().get(pk=checkpoint.pk)
        if current.deleted_at is not None:
            return
        objections = delete_objections(current)
        if objections:
            raise CheckpointError(" ".join(objections))
        current.deleted_at = timezone.now()
        current.save(update_fields=["deleted_at"])
        record("checkpoint.deleted", current, before={"sha256": current.manifest_hash})
        transaction.on_commit(lambda: shutil.rmtree(current.directory, ignore_errors=True))


def delete_objections(checkpoint: Checkpoint) -> list[str]:
    """Why a checkpoint may not be deleted, in sentences; empty where it may."""
    if checkpoint.is_pretrained:
        return ["The pre-trained checkpoint is the rollback anchor and is never deleted."]
    reasons = [f"It is the {alias.name} now." for alias in checkpoint.aliases.all()]
    children = checkpoint.children.filter(deleted_at__isnull=True)
    reasons += [f"{child} was trained from it." for child in children]
    answers = checkpoint_delete_asked.send(sender=Checkpoint, checkpoint=checkpoint)
    return reasons + [str(reason) for _, reason in answers if reason]


def _refuse(problems: Sequence[Problem]) -> None:
    """Refuse what cannot or must not be loaded, such as pickles and unknown classes."""
    if problems:
        raise _refusal(*problems)


def _refusal(*problems: Problem) -> CheckpointError:
    first = problems[0]
    message = f"This model cannot be used: {first.where}: {first.message}."
    return CheckpointError(message, first.cure, problems)


def checkpoint_describe(*, checkpoint: Checkpoint, name: str, note: str, tags: str) -> None:
    """Name a checkpoint, and write a note and tags beside it; its files stay as they are.

    Raises NameTakenError.
    """
    describe(checkpoint, "checkpoint.described", name=name, note=note, tags=tags)
