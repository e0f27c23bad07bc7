"""What a command from the checkout takes for granted, so that nothing has to be exported."""

import os
from pathlib import Path

from ftportal.operations import places

BASE = Path(__file__).resolve().parent.parent.parent


def environment_complete() -> None:
    """Use the key and the Redis of the portal that `make run` keeps in this checkout.

    Nothing is changed where a key is given: such a machine is set up by its variables.
    """
    if os.environ.get("FTPORTAL_SECRET_KEY") or os.environ.get("FTPORTAL_SECRET_KEY_FILE"):
        return
    wanted = Path(os.environ.get("FTPORTAL_DATA") or BASE / "var").resolve()
    folder = places.data_folder(wanted)
    os.environ["FTPORTAL_SECRET_KEY_FILE"] = str(places.secret_key_file(folder))
    os.environ.setdefault("FTPORTAL_HTTPS", "false")
    socket = folder / "redis.sock"
    if socket.exists():
        os.environ.setdefault("FTPORTAL_REDIS_URL", f"redis+socket://{socket}")
