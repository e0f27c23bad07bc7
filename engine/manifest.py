"""The manifest of a directory: the size and SHA-256 of every file, and one hash over them all.

manifest.json: {"files": {<relative path>: {"sha256", "size_bytes"}}, "sha256": <hash>}. The top
hash is taken over the lines `path NUL sha256 NUL size LF`, sorted by path, so it names the
directory's content, whatever the order or time in which its files were written. No torch here.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

MANIFEST_NAME = "manifest.json"
COMPLETE = "COMPLETE"
"""The file whose presence says that a state can be resumed from; written last."""
_CHUNK_BYTES = 1 << 20
OnRead = Callable[[int], None]
"""Called with the number of bytes that were just read."""


class FileEntry(TypedDict):
    """One file's content."""

    sha256: str
    size_bytes: int


class Manifest(TypedDict):
    """The content of a manifest.json."""

    files: dict[str, FileEntry]
    sha256: str


class ManifestError(Exception):
    """A directory does not hold what its manifest says; the text names the first wrong file."""


def read_quietly(size_bytes: int) -> None:
    """For those who do not ask how far it is."""


def file_sha256(path: Path | str, on_read: OnRead = read_quietly) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it in chunks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_read(len(chunk))
    return digest.hexdigest()


def _files(directory: Path, manifest_name: str) -> Iterator[tuple[str, Path]]:
    """Yield (relative POSIX path, path) of every file but the manifest, sorted by relative path."""
    paths = []
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() and not path.is_file():
            raise ManifestError(f"{name} is a link to no file: a manifest covers files only")
        if path.is_file() and name != manifest_name:
            paths.append((name, path))
    yield from sorted(paths)


def manifest_top_hash(files: Mapping[str, Any]) -> str:
    """The hash over a manifest's files, each {"sha256", "size_bytes"} by its name."""
    digest = hashlib.sha256()
    for name in sorted(files):
        entry = files[name]
        digest.update(f"{name}\0{entry['sha256']}\0{entry['size_bytes']}\n".encode())
    return digest.hexdigest()


def manifest_write(directory: Path | str, name: str = MANIFEST_NAME) -> Manifest:
    """Hash every file below `directory`, write its manifest as `name` and return what it says.

    A link to a file counts as the file. Raises ManifestError for any other link.
    """
    directory = Path(directory)
    files: dict[str, FileEntry] = {}
    for file_name, path in _files(directory, name):
        files[file_name] = {"sha256": file_sha256(path), "size_bytes": path.stat().st_size}
    manifest: Manifest = {"files": files, "sha256": manifest_top_hash(files)}
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (directory / name).write_text(text, encoding="utf-8")
    return manifest


def manifest_read(directory: Path | str, name: str = MANIFEST_NAME) -> Manifest:
    """Return what a manifest says, without a look at the files; ManifestError if unreadable."""
    try:
        manifest: Manifest = json.loads((Path(directory) / name).read_bytes())
        if manifest_top_hash(manifest["files"]) != manifest["sha256"]:
            raise ManifestError(f"{name} was changed: its own hash does not match")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{name} is missing or unreadable") from error
    return manifest


def manifest_check(
    directory: Path | str, name: str = MANIFEST_NAME, on_read: OnRead = read_quietly
) -> Manifest:
    """Compare every file with the manifest and return it.

    Raises ManifestError, naming the first file that is missing, was added, or was changed.
    """
    directory = Path(directory)
    manifest = manifest_read(directory, name)
    present = dict(_files(directory, name))
    for file_name in sorted(manifest["files"].keys() | present.keys()):
        if file_name not in present:
            raise ManifestError(f"{file_name} is missing")
        if file_name not in manifest["files"]:
            raise ManifestError(f"{file_name} is not in the manifest")
        entry = manifest["files"][file_name]
        size_bytes = present[file_name].stat().st_size
        if size_bytes != entry["size_bytes"]:
            raise ManifestError(f"{file_name} has {size_bytes} bytes, not {entry['size_bytes']}")
        if file_sha256(present[file_name], on_read) != entry["sha256"]:
            raise ManifestError(f"{file_name} was changed: its SHA-256 does not match")
    return manifest


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def directory_publish(temporary: Path | str, final: Path | str) -> None:
    """Fsync everything below `temporary` and rename it to `final`, which must not exist yet.

    Afterwards `final` is either wholly there or, after a crash, wholly absent.
    """
    temporary, final = Path(temporary), Path(final)
    for path in temporary.rglob("*"):
        _fsync(path)
    _fsync(temporary)
    temporary.rename(final)
    _fsync(final.parent)
