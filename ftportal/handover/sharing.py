"""Who may read what serving needs, beside the portal's own user.

Everything that the portal writes is for its own user alone. With FTPORTAL_SERVING_GROUP the members
of one more group may walk to the alias folders and read the champions' files, and nothing else:
they can neither list the other folders nor open the database.
"""

import grp
import os
import stat
from pathlib import Path

from django.conf import settings

_WALK, _READ = stat.S_IXGRP, stat.S_IRGRP


def serving_gid() -> int | None:
    """The group's number; None where none is set. Raises KeyError where there is none such."""
    name = settings.FTPORTAL_SERVING_GROUP
    return grp.getgrnam(name).gr_gid if name else None


def directory_share(directory: Path, gid: int) -> None:
    """Let the group read a directory with all its files, and walk to it from FTPORTAL_DATA.

    Raises OSError where the portal's user is not a member of the group.
    """
    data = Path(settings.FTPORTAL_DATA).resolve()
    directory = directory.resolve()
    for parent in directory.parents:
        if parent.is_relative_to(data):
            _give(parent, gid, _WALK)
    _give(directory, gid, _WALK | _READ)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            _give(path, gid, _WALK | _READ if path.is_dir() else _READ)


def _give(path: Path, gid: int, bits: int) -> None:
    """What has them already is left alone, for a folder that others mount may not be ours."""
    state = path.stat()
    if state.st_gid != gid:
        os.chown(path, -1, gid)
    if state.st_mode & bits != bits:
        path.chmod(stat.S_IMODE(state.st_mode) | bits)
