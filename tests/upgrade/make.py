"""Make the data folder that the upgrade test starts from, with the code of an older version.

Run it inside a checkout of that version, with that checkout first on the import path:

    cd OLD_CHECKOUT
    PYTHONPATH=$PWD python NEW_CHECKOUT/tests/upgrade/make.py NEW_CHECKOUT/tests/upgrade/data.tar.xz

It takes about three minutes. What happens in it stands in `steps.py`, which keeps to what the older
version has, not the newest.
"""

import argparse
import os
import shutil
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import steps  # type: ignore[import-not-found]  # the file beside this one, found by its place

PLACE = Path("/srv/ftportal")
"""Where the data folder stands while it is made: engines write whole paths into their configs, and
no machine's own places belong into an archive. It must not exist."""


def main() -> None:
    """Fill a new data folder, then write it as an archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive.resolve()
    PLACE.mkdir()
    try:
        portal_begin(PLACE)
        world = SimpleNamespace()
        for step in steps.STEPS:
            print(step.__name__, flush=True)  # noqa: T201
            step(world)
        settle()
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            tar.add(PLACE, "data", filter=anonymous)
    finally:
        shutil.rmtree(PLACE)
    print(f"{archive}: {archive.stat().st_size:,} bytes")  # noqa: T201


def portal_begin(data: Path) -> None:
    """Start Django of the checkout in the current directory on an empty data folder."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "ftportal.settings",
        "FTPORTAL_DATA": str(data),
        "FTPORTAL_HTTPS": "false",
        "FTPORTAL_REDIS_URL": "redis://127.0.0.1:1/0",  # nothing listens: jobs are run from here
        "FTPORTAL_SECRET_KEY": "for-this-archive-only",
        "OMP_NUM_THREADS": "1",
    }
    sys.path.insert(0, str(Path.cwd()))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def settle() -> None:
    """One database file without a log beside it, and without the name of this machine."""
    from django.db import connection

    from ftportal.jobs.models import Attempt

    Attempt.objects.update(host="worker-1")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
        cursor.execute("VACUUM")
    connection.close()


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of who made it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
