"""Child processes of benchmarks: how long one took and how much memory the kernel counted."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT


@dataclass(frozen=True, kw_only=True)
class Child:
    """What one process was."""

    output: str
    """Its standard output."""
    seconds: float
    """From its start to its end, imports and loading included."""
    cpu_seconds: float
    """Of all its threads, its own children's too: what it costs however busy the machine is."""
    peak_bytes: int
    """The most memory that was resident at once."""


def child_run(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Child:
    """Run this Python with `arguments`; standard error goes to `log`. Ends the benchmark where
    the child fails."""
    # As the engines set it for themselves; the baselines are given the same.
    common = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    started = time.monotonic()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=common | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None  # noqa: S101  (for the type checker)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")
    return Child(
        output=output,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
    )
