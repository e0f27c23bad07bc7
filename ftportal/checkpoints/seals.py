"""Seals of checkpoints: what engines check before they load one."""

from engine.seals import Seal
from ftportal.checkpoints.models import Checkpoint


def checkpoint_seals(*checkpoints: Checkpoint) -> list[Seal]:
    """Of the files of these checkpoints, those whose files are there."""
    return [
        Seal(
            what=f"checkpoint {one}",
            path=str(one.directory.resolve()),
            sha256=one.manifest_hash,
        )
        for one in checkpoints
        if one.deleted_at is None
    ]
