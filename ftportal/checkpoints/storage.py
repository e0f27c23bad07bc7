"""Where checkpoints lie on disk, and how a directory gets there whole or not at all."""

import errno
import os
import re
import shutil
import uuid
from pathlib import Path

from django.conf import settings

from engine.manifest import (
    Manifest,
    ManifestError,
    directory_publish,
    manifest_check,
)

_MOVED = ".moved"
_REVISION = r"[\w-][\w.-]*"
_REVISION_CHARACTERS = 200


def checkpoint_directory(manifest_hash: str) -> Path:
    """The directory of the checkpoint with this content."""
    return Path(settings.FTPORTAL_DATA) / "checkpoints" / manifest_hash


def models_directory() -> Path:
    """Where registered models are kept."""
    return Path(settings.FTPORTAL_DATA) / "models"


def hub_cache() -> Path:
    """The directory in which the Hugging Face hub's tools keep what they fetched."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def model_roots() -> list[Path]:
    """The directories below which a model may be registered from."""
    return [models_directory(), hub_cache(), *map(Path, settings.FTPORTAL_MODEL_ROOTS)]


def model_find(place: str) -> Path | None:
    """The directory that `place` means: a path below an allowed root, or a hub id in the cache.

    A hub id is written organisation/name, with @revision for another than main. None where nothing
    allowed is meant. There is no link in what is returned.
    """
    try:
        directory = Path(place) if place.startswith("/") else _hub_snapshot(place)
        directory = directory and directory.resolve()
        allowed = directory and any(directory.is_relative_to(root) for root in _roots_resolved())
        return directory if directory and allowed and directory.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a name too long
        return None


def _roots_resolved() -> list[Path]:
    return [root.resolve() for root in model_roots()]


def _hub_snapshot(place: str) -> Path | None:
    name, _, revision = place.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or not re.fullmatch(
        _REVISION, revision or "main"
    ):
        return None
    repository = hub_cache() / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    commit = revision
    if reference.is_file():
        with reference.open(encoding="ascii", errors="replace") as file:
            commit = file.read(_REVISION_CHARACTERS).strip()
    return repository / "snapshots" / commit if re.fullmatch(_REVISION, commit) else None


def stored_path(directory: Path) -> str:
    """`directory` as the database keeps it: relative to FTPORTAL_DATA where it lies inside."""
    directory = directory.resolve()
    data = Path(settings.FTPORTAL_DATA).resolve()
    return str(directory.relative_to(data) if directory.is_relative_to(data) else directory)


def size_bytes(manifest: Manifest) -> int:
    """Bytes of all files that a manifest names."""
    return sum(entry["size_bytes"] for entry in manifest["files"].values())


def output_adopt(directory: Path) -> tuple[Path, Manifest]:
    """Move an engine's output to its checkpoint directory; return that and its manifest.

    May be called again after a crash at any point: beside `directory` a small file keeps the
    hash of what was moved. Raises ManifestError when the files are not what their manifest says.
    """
    moved = directory.with_name(directory.name + _MOVED)
    if not directory.is_dir() and moved.is_file():
        target = checkpoint_directory(moved.read_text())
        return target, manifest_check(target)
    manifest = manifest_check(directory)
    target = checkpoint_directory(manifest["sha256"])
    _write_durably(moved, manifest["sha256"])
    if _is_whole(target):
        shutil.rmtree(directory)
    else:
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(directory, target)
    return target, manifest


def _write_durably(path: Path, text: str) -> None:
    """After a power cut it must not be there empty while the directory it stands for has gone."""
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(target: Path) -> bool:
    """Whether the same weights lie there, and not only what a deletion cut short has left."""
    try:
        manifest_check(target)
    except ManifestError:
        return False
    return True


def _move(source: Path, target: Path) -> None:
    try:
        directory_publish(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        shutil.copytree(source, copy)
        manifest_check(copy)
        directory_publish(copy, target)
        shutil.rmtree(source)


def model_move_in(directory: Path, name: str) -> Path:
    """Move a fetched model's files into FTPORTAL_DATA; safe to repeat after a crash."""
    target = models_directory() / name
    if target.is_dir():  # whole: it gets its name last
        shutil.rmtree(directory, ignore_errors=True)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _move(directory, target)
    return target
