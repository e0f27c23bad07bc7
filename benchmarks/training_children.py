"""Child processes of `make bench-train`, one a measurement, with the memory the kernel counted."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import child_run
from engine.events import Done, Metric, read_events


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one process did."""

    seconds: float
    """Mean of its timed steps."""
    peak_bytes: int
    """The whole process's highest, from start to end; on a GPU what torch allocated there."""
    loss: float
    """Of the first timed step, nats a decision token."""


def measure(directory: Path, kind: str) -> Measurement:
    """Run one child on a case's directory; kind is ours, trl or masked."""
    if kind == "ours":
        shutil.rmtree(directory / "attempts", ignore_errors=True)
        child = child_run(["-m", "training", str(directory)], directory / "ours.log")
        return _from_events(directory / "attempts/0/events.jsonl", child.peak_bytes)
    arguments = ["-m", "benchmarks.training_baselines", str(directory), kind]
    child = child_run(arguments, directory / f"{kind}.log")
    answer = json.loads(child.output.strip().splitlines()[-1])
    timed = answer["seconds"][1:]
    return Measurement(
        seconds=sum(timed) / len(timed),
        peak_bytes=answer["gpu_peak_bytes"] or child.peak_bytes,
        loss=answer["losses"][1],
    )


def _from_events(path: Path, peak_bytes: int) -> Measurement:
    """Read the engine's own step times: they leave out its measuring of displacement."""
    events, _ = read_events(path)
    # A figure is None only where it was not finite, and then the engine would have stopped.
    steps: list[Mapping[str, Any]] = [one.values for one in events if isinstance(one, Metric)]
    done = next(one.summary for one in events if isinstance(one, Done))
    tokens = done["decision_tokens"] / done["steps"]
    timed = [tokens / values["decision_tokens_per_second"] for values in steps[1:]]
    on_gpu = done["device"].startswith("cuda")
    return Measurement(
        seconds=sum(timed) / len(timed),
        peak_bytes=int(steps[-1]["memory_bytes"]) if on_gpu else peak_bytes,
        loss=steps[1]["loss_nats"],
    )
