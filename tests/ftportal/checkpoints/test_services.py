"""Registering, moving, naming and deleting checkpoints."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.manifest import MANIFEST_NAME, ManifestError, manifest_check, manifest_write
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion, checkpoint_files, lineage
from ftportal.checkpoints.services import (
    CheckpointError,
    alias_set,
    checkpoint_delete,
    checkpoint_register,
    language_model_register,
)
from ftportal.checkpoints.signals import checkpoint_delete_asked, checkpoint_registered

pytestmark = pytest.mark.django_db


@pytest.fixture
def output_of(language_model: LanguageModel, data_dir: Path) -> Any:
    """`output_of("a")`: an engine's output directory whose content depends on the text."""

    def make(text: str, job: str = "job") -> Path:
        directory = data_dir / "jobs" / job / "attempts" / "1" / "output"
        shutil.copytree(language_model.pretrained.directory, directory)
        (directory / "notes.txt").write_text(text)
        manifest_write(directory)
        return directory

    return make


def _register(parent: Checkpoint, directory: Path, name: str = "Careful") -> Checkpoint:
    return checkpoint_register(
        parent=parent, name=name, directory=directory, displacement_pretrained=1.5
    )


def test_a_registered_model_has_its_anchor(language_model: LanguageModel, data_dir: Path) -> None:
    anchor = language_model.pretrained
    assert anchor.is_pretrained
    assert anchor.directory.is_relative_to(data_dir)
    assert not Path(anchor.path).is_absolute()
    assert (anchor.directory / "tokenizer.json").is_file()
    assert {file.name for file in checkpoint_files(anchor)} >= {"model.safetensors", "config.json"}
    assert anchor.size_bytes == sum(file.size_bytes for file in checkpoint_files(anchor))
    assert champion(language_model) == anchor


def test_a_registered_model_is_announced(
    db: None, data_dir: Path, tiny_model_directory: Path, django_capture_on_commit_callbacks: Any
) -> None:
    heard = []

    def hear(checkpoint: Checkpoint, **_: Any) -> None:
        heard.append(checkpoint)

    checkpoint_registered.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            model = language_model_register(
                name="Tiny", source="tests", note="", licence="", directory=tiny_model_directory
            )
    finally:
        checkpoint_registered.disconnect(hear)
    assert heard == [model.pretrained]


def test_it_counts_the_parameters(
    language_model: LanguageModel, tiny_model_directory: Path
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_model_directory / "model.safetensors")
    assert language_model.parameter_count == sum(tensor.size for tensor in tensors.values())


def test_it_follows_the_links_of_a_hub_cache(
    data_dir: Path, tiny_model_directory: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in tiny_model_directory.iterdir():
        if path.name != MANIFEST_NAME:
            blob = tmp_path / "hub" / f"blob-{path.name}"
            shutil.copyfile(path, blob)
            (snapshot / path.name).symlink_to(blob)
    model = language_model_register(
        name="Hub model", source="org/model", note="", licence="", directory=snapshot
    )
    kept = model.pretrained.directory
    assert kept == data_dir / "models" / "hub-model"
    assert not any(path.is_symlink() for path in kept.iterdir())


@pytest.mark.parametrize("name", ["Tiny", " "])
def test_it_refuses_a_taken_or_empty_name(
    language_model: LanguageModel, tiny_model_directory: Path, name: str
) -> None:
    with pytest.raises(CheckpointError):
        language_model_register(
            name=name, source="s", note="", licence="", directory=tiny_model_directory
        )


def test_it_refuses_the_same_files_under_another_name(
    language_model: LanguageModel, tiny_model_directory: Path, data_dir: Path
) -> None:
    with pytest.raises(CheckpointError, match="registered already, as Tiny, pre-trained"):
        language_model_register(
            name="Again", source="s", note="", licence="", directory=tiny_model_directory
        )
    assert not (data_dir / "models" / "again").exists()


def test_an_output_becomes_a_checkpoint_and_is_moved(
    language_model: LanguageModel, output_of: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard = []

    def hear(sender: Any, checkpoint: Checkpoint, **_: Any) -> None:
        heard.append(checkpoint)

    checkpoint_registered.connect(hear)
    try:
        output = output_of("a")
        with django_capture_on_commit_callbacks(execute=True):
            checkpoint = _register(language_model.pretrained, output)
    finally:
        checkpoint_registered.disconnect(hear)
    assert not output.exists()
    assert checkpoint.path == f"checkpoints/{checkpoint.manifest_hash}"
    assert (checkpoint.directory / "notes.txt").read_text() == "a"
    assert checkpoint.depth == 1
    assert heard == [checkpoint]


def test_registering_twice_gives_the_same_checkpoint(
    language_model: LanguageModel, output_of: Any
) -> None:
    """The second call is what a job's follow-up does after a crash: the directory is gone."""
    output = output_of("a")
    first = _register(language_model.pretrained, output)
    assert _register(language_model.pretrained, output) == first


def test_a_crash_between_move_and_row_is_healed(
    language_model: LanguageModel, output_of: Any
) -> None:
    output = output_of("a")
    first = _register(language_model.pretrained, output)
    path = first.directory
    first.delete()
    again = _register(language_model.pretrained, output)
    assert again.directory == path


def test_the_same_weights_of_another_run_are_the_same_checkpoint(
    language_model: LanguageModel, output_of: Any
) -> None:
    first = _register(language_model.pretrained, output_of("a", "job-1"))
    assert _register(language_model.pretrained, output_of("a", "job-2"), "Other") == first


def test_it_refuses_an_output_that_was_changed(
    language_model: LanguageModel, output_of: Any
) -> None:
    output = output_of("a")
    (output / "notes.txt").write_text("b")
    with pytest.raises(ManifestError, match=r"notes\.txt"):
        _register(language_model.pretrained, output)
    assert output.exists()


def test_a_taken_name_gets_a_number(language_model: LanguageModel, output_of: Any) -> None:
    _register(language_model.pretrained, output_of("a", "job-1"))
    second = _register(language_model.pretrained, output_of("b", "job-2"))
    assert second.name == "Careful (2)"


def test_lineage_runs_from_the_anchor(language_model: LanguageModel, output_of: Any) -> None:
    anchor = language_model.pretrained
    child = _register(anchor, output_of("a", "job-1"), "Child")
    grandchild = _register(child, output_of("b", "job-2"), "Grandchild")
    assert lineage(grandchild) == [anchor, child, grandchild]
    assert grandchild.depth == 2


def test_the_alias_makes_the_champion(language_model: LanguageModel, output_of: Any) -> None:
    child = _register(language_model.pretrained, output_of("a"))
    alias_set(language_model=language_model, name="champion", checkpoint=child)
    assert champion(language_model) == child
    alias_set(language_model=language_model, name="champion", checkpoint=language_model.pretrained)
    assert champion(language_model) == language_model.pretrained


def test_deleting_removes_the_files_and_keeps_the_row(
    language_model: LanguageModel, output_of: Any, django_capture_on_commit_callbacks: Any
) -> None:
    child = _register(language_model.pretrained, output_of("a"))
    with django_capture_on_commit_callbacks(execute=True):
        checkpoint_delete(checkpoint=child)
    child.refresh_from_db()
    assert child.deleted_at is not None
    assert not child.directory.exists()
    assert checkpoint_files(child) == []
    with pytest.raises(CheckpointError, match="were deleted"):
        alias_set(language_model=language_model, name="champion", checkpoint=child)


def test_a_deleted_checkpoint_comes_back_with_the_same_weights(
    language_model: LanguageModel, output_of: Any, django_capture_on_commit_callbacks: Any
) -> None:
    child = _register(language_model.pretrained, output_of("a", "job-1"))
    with django_capture_on_commit_callbacks(execute=True):
        checkpoint_delete(checkpoint=child)
    again = _register(language_model.pretrained, output_of("a", "job-2"))
    assert again == child
    assert again.deleted_at is None
    assert again.directory.is_dir()


def test_what_a_deletion_cut_short_has_left_is_not_taken_for_the_weights(
    language_model: LanguageModel, output_of: Any
) -> None:
    child = _register(language_model.pretrained, output_of("a", "job-1"))
    checkpoint_delete(checkpoint=child)  # the files go on commit, which never comes
    (child.directory / "model.safetensors").unlink()
    again = _register(language_model.pretrained, output_of("a", "job-2"))
    assert manifest_check(again.directory)["sha256"] == child.manifest_hash


def test_it_keeps_anchor_champion_and_parents(
    language_model: LanguageModel, output_of: Any
) -> None:
    child = _register(language_model.pretrained, output_of("a", "job-1"), "Child")
    grandchild = _register(child, output_of("b", "job-2"), "Grandchild")
    alias_set(language_model=language_model, name="champion", checkpoint=grandchild)
    for kept, reason in (
        (language_model.pretrained, "rollback anchor"),
        (child, "Grandchild was trained from it"),
        (grandchild, "It is the champion now"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            checkpoint_delete(checkpoint=kept)
        assert kept.directory.is_dir()


def test_a_floor_above_may_object_to_a_deletion(
    language_model: LanguageModel, output_of: Any
) -> None:
    child = _register(language_model.pretrained, output_of("a"))

    def object_to(sender: Any, checkpoint: Checkpoint, **_: Any) -> str:
        return "Run Night is training on it."

    checkpoint_delete_asked.connect(object_to)
    try:
        with pytest.raises(CheckpointError, match="Night"):
            checkpoint_delete(checkpoint=child)
    finally:
        checkpoint_delete_asked.disconnect(object_to)
