"""Resumable states: directories that count only when they are complete.

A state is a directory such as trainer/step-000120. Its marker COMPLETE is a manifest of every
other file, written last, before everything is fsynced and the directory gets its name. No torch
here.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.checks import ConfigError
from engine.manifest import (
    COMPLETE,
    ManifestError,
    directory_publish,
    manifest_check,
    manifest_write,
)

_KEPT_STATES = 2


def state_path(directory: Path, step: int) -> Path:
    """Return where the state after `step` stands."""
    return directory / f"step-{step:06d}"


def state_step(state: Path) -> int:
    """Return the step that a state stands after."""
    return int(state.name.removeprefix("step-"))


def state_temporary(directory: Path, step: int) -> Path:
    """Return where the state after `step` is written before it is complete."""
    final = state_path(directory, step)
    return final.with_name(final.name + ".tmp")


def state_begin(temporary: Path) -> None:
    """Make an empty directory to write a state into."""
    for leftover in (temporary, temporary.with_suffix("")):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)


@contextmanager
def state_discarded_on_error(temporary: Path) -> Iterator[None]:
    """Take a state that could not be written away: it would fill the disk for nothing."""
    try:
        yield
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def state_complete(temporary: Path) -> Path:
    """Mark a written state as complete and publish it; drop all but the newest two."""
    manifest_write(temporary, COMPLETE)
    final = temporary.with_suffix("")
    directory_publish(temporary, final)
    states = sorted(path for path in final.parent.glob("step-*") if not path.suffix)
    for old in states[:-_KEPT_STATES]:
        (old / COMPLETE).unlink(missing_ok=True)  # from here on it does not count
        shutil.rmtree(old, ignore_errors=True)
    return final


def state_check(path: Path) -> None:
    """Refuse a state that is not complete or was changed; ConfigError says how."""
    cure = "Resume from an earlier state, or start the run again."
    if not (path / COMPLETE).is_file():
        raise ConfigError("--resume", f"{path.name} is not complete: no {COMPLETE}", cure)
    try:
        manifest_check(path, COMPLETE)
    except ManifestError as error:
        raise ConfigError("--resume", f"{path.name} is damaged: {error}", cure) from error
