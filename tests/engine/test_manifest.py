"""The manifest of a directory, and publishing one as a whole."""

import hashlib
import json
from pathlib import Path

import pytest

from engine.manifest import (
    ManifestError,
    directory_publish,
    manifest_check,
    manifest_write,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "output"
    (made / "sub").mkdir(parents=True)
    (made / "weights.bin").write_bytes(bytes(range(256)) * 20)
    (made / "sub" / "note.txt").write_text("hello")
    return made


def test_it_holds_size_and_hash_of_every_file(directory: Path) -> None:
    manifest = manifest_write(directory)
    note = {"sha256": hashlib.sha256(b"hello").hexdigest(), "size_bytes": 5}
    assert manifest["files"]["sub/note.txt"] == note
    assert set(manifest["files"]) == {"sub/note.txt", "weights.bin"}
    assert manifest_check(directory) == manifest


def test_the_top_hash_is_that_of_the_sorted_list(directory: Path) -> None:
    manifest = manifest_write(directory)
    lines = "".join(
        f"{name}\0{manifest['files'][name]['sha256']}\0{manifest['files'][name]['size_bytes']}\n"
        for name in ("sub/note.txt", "weights.bin")
    )
    assert manifest["sha256"] == hashlib.sha256(lines.encode()).hexdigest()


def test_it_detects_a_flipped_byte(directory: Path) -> None:
    manifest_write(directory)
    content = bytearray((directory / "weights.bin").read_bytes())
    content[1000] ^= 1
    (directory / "weights.bin").write_bytes(content)
    with pytest.raises(ManifestError, match=r"weights\.bin was changed"):
        manifest_check(directory)


def test_it_detects_missing_added_and_cut_files(directory: Path) -> None:
    manifest_write(directory)
    (directory / "new").write_text("")
    with pytest.raises(ManifestError, match="new is not in the manifest"):
        manifest_check(directory)
    (directory / "new").unlink()
    (directory / "weights.bin").write_bytes(b"short")
    with pytest.raises(ManifestError, match="5 bytes, not 5120"):
        manifest_check(directory)
    (directory / "weights.bin").unlink()
    with pytest.raises(ManifestError, match=r"weights\.bin is missing"):
        manifest_check(directory)


def test_it_detects_a_changed_manifest(directory: Path) -> None:
    manifest = manifest_write(directory)
    manifest["files"]["sub/note.txt"]["size_bytes"] = 6
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="its own hash"):
        manifest_check(directory)
    (directory / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(ManifestError, match="unreadable"):
        manifest_check(directory)


def test_publishing_gives_the_directory_its_name(directory: Path) -> None:
    final = directory.parent / "final"
    directory_publish(directory, final)
    assert (final / "sub" / "note.txt").read_text() == "hello"
    assert not directory.exists()
