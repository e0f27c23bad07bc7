"""The folder that serving watches is there at any moment and never behind the ledger."""

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftportal.checkpoints.models import LanguageModel
from ftportal.checks import serving_group_is_ours
from ftportal.handover import services
from ftportal.handover.aliases import aliases_directory, link_set, note_set
from ftportal.handover.models import AliasFolder
from ftportal.handover.naming import safe_name
from ftportal.handover.services import alias_publish, aliases_sweep, folder_of
from ftportal.operations.places import wide_paths
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction
from ftportal.promotions.selectors import champion_event
from ftportal.promotions.services import rollback
from tests.ftportal.house import checkpoint_make, model_make

pytestmark = pytest.mark.django_db


def folder(model: LanguageModel) -> Path:
    return aliases_directory() / model.alias_folder.name


def promote(model: LanguageModel, checkpoint: Any, actor: Any) -> Any:
    return ledger_append(
        language_model=model,
        action=PromotionAction.PROMOTE,
        actor=actor,
        to=checkpoint,
        reason="better",
        evidence={},
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("Qwen3 0.6B", "Qwen3-0.6B"),
        ("../../etc", "etc"),
        (".hidden", "hidden"),
        ("--model", "model"),
        ("日本", "model"),
        ("a/b\\c'd\"e$f;g", "a-b-c-d-e-f-g"),
        ("x" * 200, "x" * 80),
    ],
)
def test_names_are_safe_in_a_shell_and_in_a_path(text: str, wanted: str) -> None:
    assert safe_name(text) == wanted


def test_models_whose_names_come_out_alike_have_folders_of_their_own(data_dir: Path) -> None:
    names = [folder_of(model_make(name)).name for name in ("A/B", "A b", "a-B", "..")]
    assert names == ["a-b", "a-b-2", "a-b-3", "model"]
    model = LanguageModel.objects.get(name="A b")
    LanguageModel.objects.filter(pk=model.pk).update(name="Something else")
    assert folder_of(LanguageModel.objects.get(pk=model.pk)).name == "a-b-2"


def test_it_points_to_the_anchor_then_to_the_champion_and_back(
    served: SimpleNamespace, cast: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    link = folder(served.model) / "champion"
    assert link.resolve() == served.anchor.directory.resolve()
    assert not link.readlink().is_absolute()
    with django_capture_on_commit_callbacks(execute=True):
        event = promote(served.model, served.child, cast.leo)
    assert link.resolve() == served.child.directory.resolve()
    note = json.loads((folder(served.model) / "champion.json").read_text())
    assert note == {
        "model": "Small / Chat",
        "checkpoint": "Evening session: #1",
        "manifest_sha256": served.child.manifest_hash,
        "ledger_entry": 2,
        "ledger_hash": event.hash,
        "action": "promote",
        "since": event.created_at.isoformat(),
    }
    with django_capture_on_commit_callbacks(execute=True):
        rollback(language_model=served.model, to=served.anchor, actor=cast.leo, reason="worse")
    assert link.resolve() == served.anchor.directory.resolve()
    assert json.loads((folder(served.model) / "champion.json").read_text())["ledger_entry"] == 3


def test_the_sweep_mends_what_was_lost_and_then_leaves_it(served: SimpleNamespace) -> None:
    link = folder(served.model) / "champion"
    link.unlink()
    (folder(served.model) / "champion.json").write_text("{")
    (folder(served.model) / ".new-champion-of-a-killed-process").write_text("")
    aliases_sweep()
    assert link.resolve() == served.anchor.directory.resolve()
    assert sorted(one.name for one in folder(served.model).iterdir()) == [
        ".lock",
        "champion",
        "champion.json",
    ]
    before = link.lstat().st_mtime_ns, (folder(served.model) / "champion.json").stat().st_mtime_ns
    assert alias_publish(language_model=served.model) is False
    assert before == (
        link.lstat().st_mtime_ns,
        (folder(served.model) / "champion.json").stat().st_mtime_ns,
    )


def test_one_model_that_cannot_be_published_stops_no_other(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = model_make("First"), model_make("Second")
    (aliases_directory()).mkdir(parents=True, exist_ok=True)
    AliasFolder.objects.create(language_model=first, name="first")
    (aliases_directory() / "first").write_text("a file stands where the folder should")
    aliases_sweep()
    assert (folder(second) / "champion").is_dir()


def test_a_reader_always_finds_one_of_the_two(tmp_path: Path) -> None:
    targets = [tmp_path / "one", tmp_path / "two"]
    for target in targets:
        target.mkdir()
        (target / "name").write_text(target.name)
    link, note = tmp_path / "alias" / "champion", tmp_path / "alias" / "champion.json"
    link.parent.mkdir()
    link_set(link, targets[0])
    note_set(note, {"name": "one"})
    done, seen, missed = threading.Event(), set(), []

    def look() -> None:
        while not done.is_set():
            try:
                seen.add((link / "name").read_text())
                json.loads(note.read_text())
            except (OSError, ValueError) as error:
                missed.append(error)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 201):
        link_set(link, targets[number % 2])
        note_set(note, {"name": targets[number % 2].name})
    done.set()
    for reader in readers:
        reader.join()
    assert (missed, seen) == ([], {"one", "two"})


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_the_last_writes_the_newest(
    data_dir: Path, cast: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow sweep that has read the ledger before a promotion does not undo it."""
    model = model_make("Busy")
    candidate = checkpoint_make(model, "New", model.pretrained)
    alias_publish(language_model=model)
    reading, go_on = threading.Event(), threading.Event()
    ask = champion_event

    def slow(language_model: Any) -> Any:
        event = ask(language_model)
        if threading.current_thread().name == "sweep":
            reading.set()
            go_on.wait(10)
        return event

    monkeypatch.setattr(services, "champion_event", slow)

    def sweep() -> None:
        from django.db import connection

        alias_publish(language_model=model)
        connection.close()

    def promotes() -> None:
        from django.db import connection, transaction

        with transaction.atomic():
            promote(model, candidate, cast.leo)
        connection.close()

    slow_one = threading.Thread(target=sweep, name="sweep")
    slow_one.start()
    assert reading.wait(10)
    promoting = threading.Thread(target=promotes)
    promoting.start()
    promoting.join(0.3)  # it waits for the folder's lock
    go_on.set()
    slow_one.join(10)
    promoting.join(10)
    link = aliases_directory() / folder_of(model).name / "champion"
    assert link.resolve() == candidate.directory.resolve()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_member_of_the_serving_group_reads_the_champion_and_nothing_else(
    served: SimpleNamespace, settings: Any
) -> None:
    import grp
    import shutil

    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o711)
        data = Path(place) / "var"
        shutil.copytree(settings.FTPORTAL_DATA, data, symlinks=True)
        settings.FTPORTAL_DATA = data
        for path in [data, *data.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
        (data / "db.sqlite3").touch(mode=0o600)
        alias = data / "aliases" / served.model.alias_folder.name
        reads = [alias / "champion" / "config.json", alias / "champion.json"]
        closed = [data / "db.sqlite3", served.child.directory / "config.json"]
        group = grp.getgrnam("daemon")
        assert not any(readable(path, group.gr_gid) for path in [*reads, *closed])
        settings.FTPORTAL_SERVING_GROUP = "daemon"
        alias_publish(language_model=served.model)
        assert all(readable(path, group.gr_gid) for path in reads)
        assert not any(readable(path, group.gr_gid) for path in closed)
        # The start says which files others can read; these are meant to be.
        assert wide_paths(data, "daemon") == []
        assert alias / "champion.json" in wide_paths(data)


def readable(path: Path, gid: int) -> bool:
    """Whether a process of nobody's in one more group can read a file."""
    child = subprocess.run(
        ["/bin/cat", str(path)],
        user=65534,
        group=65534,
        extra_groups=[gid],
        capture_output=True,
        cwd="/",
    )
    return child.returncode == 0


def test_a_group_that_does_not_exist_is_told(served: SimpleNamespace, settings: Any) -> None:
    assert serving_group_is_ours(None) == []
    settings.FTPORTAL_SERVING_GROUP = "no such group"
    (error,) = serving_group_is_ours(None)
    assert "There is no group no such group" in error.msg
    with pytest.raises(KeyError, match="no such group"):
        alias_publish(language_model=served.model)
