"""The end of an engine's own log, for those who look into a failed run."""

import os

from ftportal.jobs.models import Job

_LOG_BYTES = 8192
_LOG_LINES = 40


def log_tail(job: Job) -> str:
    """The last lines that the newest attempt wrote to stderr; empty where there are none."""
    try:
        with (job.attempt_directory / "stderr").open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_LINES:])
