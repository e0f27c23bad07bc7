"""A small engine that counts: the whole contract of the real ones, without a model.

config.json: {"steps": n, "step_seconds": s, "save_every_steps": k, "exit_at": {step: exit code},
"ignore_stop": bool, "metrics_per_step": m, "journal": path}. It appends every step it does to
`journal` as "<attempt> <step>", and its output is the sum of its steps.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from engine.events import EventWriter
from engine.manifest import directory_publish
from engine.process import BAD_INPUT, DONE, STOPPED, StopRequest, supervise_self


def save(events: EventWriter, attempt: Path, step: int, total: int) -> None:
    """Write a complete state; it is there under its name only when all of it is."""
    temporary = attempt / "trainer" / "state.tmp"
    temporary.mkdir(parents=True)
    (temporary / "state.json").write_text(json.dumps({"step": step, "total": total}))
    (temporary / "COMPLETE").write_text("")
    final = attempt / "trainer" / f"state-{step}"
    directory_publish(temporary, final)
    events.saved(step=step, path=str(final))


def main() -> int:
    """Count from the resumed state to the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--attempt", type=int, default=0)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--supervisor-fd", type=int)
    arguments = parser.parse_args()
    supervise_self(arguments.supervisor_fd)
    stop = StopRequest().install()
    config = json.loads((arguments.directory / "config.json").read_text())
    attempt = arguments.directory / "attempts" / str(arguments.attempt)
    attempt.mkdir(parents=True, exist_ok=True)
    state = {"step": 0, "total": 0}
    if arguments.resume:
        state = json.loads((arguments.resume / "state.json").read_text())
    with EventWriter(attempt / "events.jsonl") as events:
        return count(config, events, attempt, stop, **state)


def count(
    config: dict, events: EventWriter, attempt: Path, stop: StopRequest, step: int, total: int
) -> int:
    """Do the steps that are left; return the exit code."""
    steps = config["steps"]
    while step < steps:
        if stop.requested and not config.get("ignore_stop"):
            save(events, attempt, step, total)
            return STOPPED
        step += 1
        total += step
        time.sleep(config.get("step_seconds", 0.01))
        if journal := config.get("journal"):
            with Path(journal).open("a") as file:
                file.write(f"{attempt.name} {step}\n")
        for number in range(config.get("metrics_per_step", 1)):
            events.metric(step=step, values={f"total_{number}": float(total)})
        events.progress(done=step, total=steps, unit="steps", phase="Counting")
        if step % config.get("save_every_steps", 5) == 0:
            save(events, attempt, step, total)
        if (code := config.get("exit_at", {}).get(str(step))) is not None:
            return leave(code, events, step)
    output = attempt / "output.tmp"
    output.mkdir()
    (output / "sum.txt").write_text(str(total))
    directory_publish(output, attempt / "output")
    events.done(summary={"total": total})
    return DONE


def leave(code: int, events: EventWriter, step: int) -> int:
    """End as told: with an error event for bad input, with last words otherwise."""
    if code == BAD_INPUT:
        events.error(where=f"step {step}", message="This number is wrong.", cure="Take another.")
    else:
        print(f"Giving up at step {step} <script>", file=sys.stderr)  # noqa: T201
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main())
