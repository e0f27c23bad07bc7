"""What would go wrong later, said when the portal starts: Django system checks with hints."""

import grp
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register
def data_folder_is_writable(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Everything the portal keeps goes into FTPORTAL_DATA."""
    folder = Path(settings.FTPORTAL_DATA)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"The data folder {folder} cannot be written to.",
            hint="Name another in FTPORTAL_DATA, or make its owner the user that runs the portal.",
            id="ftportal.E001",
        )
    ]


@register
def serving_group_is_ours(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Only a member may give files to a group."""
    name = settings.FTPORTAL_SERVING_GROUP
    if not name:
        return []
    try:
        gid = grp.getgrnam(name).gr_gid
    except KeyError:
        problem = f"There is no group {name}, which FTPORTAL_SERVING_GROUP names."
    else:
        if os.geteuid() == 0 or gid in (os.getegid(), *os.getgroups()):
            return []
        problem = f"The user that runs the portal is not in the group {name}."
    return [
        Error(
            problem,
            hint=f"Make the group, and add that user to it: usermod --append --groups {name} USER",
            id="ftportal.E002",
        )
    ]


@register
def lease_outlives_a_locked_database(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A renewal comes every sixth of a lease and may wait for SQLite's lock."""
    database = settings.DATABASES["default"]
    wait_seconds = database.get("OPTIONS", {}).get("timeout", 5)
    if "sqlite3" not in database["ENGINE"] or wait_seconds < settings.FTPORTAL_LEASE_SECONDS:
        return []
    return [
        Warning(
            f"A lease of {settings.FTPORTAL_LEASE_SECONDS} s may end while its renewal waits "
            f"{wait_seconds} s for the database.",
            hint="Set FTPORTAL_LEASE_SECONDS to 60, or use PostgreSQL.",
            id="ftportal.W001",
        )
    ]
