"""Where checkpoints lie on disk, and how a directory gets there whole or not at all."""

import errno
import os
import re
import shutil
import uuid
from pathlib import Path

from django.conf import settings

from engine.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestError,
    directory_publish,
    manifest_check,
)

_MOVED = ".moved"


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
    allowed is meant.
    """
    if not place.startswith("/"):
        return _hub_snapshot(place)
    directory = Path(place).resolve()
    allowed = any(directory.is_relative_to(root.resolve()) for root in model_roots())
    return directory if allowed and directory.is_dir() else None


def _hub_snapshot(place: str) -> Path | None:
    name, _, revision = place.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or not re.fullmatch(r"[\w.-]*", revision):
        return None
    repository = hub_cache() / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


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


def model_adopt(directory: Path, name: str) -> Path:
    """Bring a model's files into FTPORTAL_DATA, where nobody else changes them.

    A directory that already lies there stays. Links, as the hub's cache uses them, become hard
    links to the files they point at, or copies across devices; plain files are copied.
    """
    directory = directory.absolute()
    inside = directory.resolve().is_relative_to(models_directory().resolve())
    if inside and not any(path.is_symlink() for path in directory.rglob("*")):
        return directory.resolve()
    target = models_directory() / name
    if target.exists():
        target = target.with_name(f"{name}-{uuid.uuid4().hex[:8]}")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and relative.as_posix() != MANIFEST_NAME:
            (partial / relative).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, partial / relative)
    directory_publish(partial, target)
    return target


def model_move_in(directory: Path, name: str) -> Path:
    """Move a fetched model's files into FTPORTAL_DATA; safe to repeat after a crash."""
    target = models_directory() / name
    if not directory.is_dir() and target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _move(directory, target)
    return target


def _link_or_copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        try:
            os.link(source.resolve(), target)
            return
        except OSError:
            pass  # another device, or a file system without hard links
    shutil.copyfile(source, target)
