"""`python -m engine.rereading DIR`: read files again and say which are not what they were.

config.json has `things`, a list of seals (see `engine.seals`). Of each of them output/report.json
says what is wrong, nothing where it is unchanged. A difference is a result here, no failure: all
things are read, whatever the first ones are like.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.attempt import Attempt, attempt_run
from engine.checks import ConfigError
from engine.manifest import MANIFEST_NAME
from engine.seals import Seal, SealError, seals_read

_TOLD_EVERY_SECONDS = 0.5


class _Pace:
    """How far the reading is, told twice a second."""

    def __init__(self, attempt: Attempt, total_bytes: int) -> None:
        self._attempt = attempt
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._began = self._told = time.monotonic()
        self.phase = ""

    def __call__(self, size_bytes: int) -> None:
        """So many bytes more; raises StoppedError where the attempt was asked to stop."""
        self._attempt.check_stop()
        self._done_bytes += size_bytes
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_SECONDS:
            self._told = now
            left = max(0, self._total_bytes - self._done_bytes)
            self._attempt.events.progress(
                done=self._done_bytes,
                total=self._total_bytes,
                unit="bytes",
                phase=self.phase,
                seconds_left=left * (now - self._began) / self._done_bytes,
            )


def _work(attempt: Attempt, record: Any) -> None:
    if not isinstance(record, dict) or "things" not in record:
        raise ConfigError("things", "is missing", "Write a list of objects.")
    things = seals_read({"seals": record["things"]})
    with attempt.output_directory() as output:
        report = _report(attempt, things)
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (output / "report.json").write_text(text + "\n", encoding="utf-8")
    attempt.events.done(summary={"differing": sum(bool(one["problem"]) for one in report)})


def _report(attempt: Attempt, things: Sequence[Seal]) -> list[dict[str, Any]]:
    files = {thing: list(_files(Path(thing.path))) for thing in things}
    pace = _Pace(attempt, sum(size for known in files.values() for _, size in known))
    return [
        {
            "what": thing.what,
            "sha256": thing.sha256,
            "files": len(files[thing]),
            "size_bytes": sum(size for _, size in files[thing]),
            "problem": _problem(thing, [path for path, _ in files[thing]], pace),
        }
        for thing in things
    ]


def _problem(thing: Seal, paths: Sequence[Path], pace: _Pace) -> str:
    pace.phase = f"reading {thing.what}"[:60]
    for path in paths:
        _forget(path)
    try:
        thing.check(pace)
    except SealError as error:
        return error.message
    return ""


def _files(path: Path) -> Iterator[tuple[Path, int]]:
    """A thing's files, without a manifest, and their sizes; none where nothing can be read."""
    with suppress(OSError):
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for one in below:
            if one.is_file() and one != path / MANIFEST_NAME:
                yield one, one.stat().st_size


def _forget(path: Path) -> None:
    """Have the kernel ask the disk again, where it can: what it remembers may be sound still."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt; return its exit code."""
    return attempt_run("engine.rereading", _work, arguments)


if __name__ == "__main__":
    sys.exit(main())
