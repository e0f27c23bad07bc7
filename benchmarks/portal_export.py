"""One run's metrics as CSV in a process of its own, so that the memory is the export's alone."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast


def main() -> int:
    """`python -m benchmarks.portal_export DATA RUN`: seconds, lines and memory as JSON."""
    folder, key = sys.argv[1:]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "ftportal.settings",
        "FTPORTAL_SECRET_KEY": "for-the-benchmark-only",
        "FTPORTAL_DATA": str(Path(folder)),
    }
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    client.force_login(
        get_user_model().objects.get(username="vera"),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    client.get("/runs/", secure=True)  # what every page needs is there before
    before = _peak_bytes()
    began = time.perf_counter()
    response = client.get(f"/runs/{key}/metrics.csv", secure=True)
    lines, first_seconds = -1, 0.0  # the first line is the heads'
    for part in cast(Any, response).streaming_content:
        first_seconds = first_seconds or time.perf_counter() - began
        lines += part.count(b"\n")
    told = {
        "seconds": time.perf_counter() - began,
        "first_seconds": first_seconds,
        "lines": lines,
        "before_bytes": before,
        "peak_bytes": _peak_bytes(),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _peak_bytes() -> int:
    # Not ru_maxrss: that begins with what the parent had.
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib) * 1024


if __name__ == "__main__":
    sys.exit(main())
