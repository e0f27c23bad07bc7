"""`make fingerprints`: what every method and defence makes of a tiny model, as hashes.

For changes that must not change a bit: run it before and after, on one machine, and compare.
It drives the engine by its command line alone, so `--checkout` may name an older version. One JSON
object a line: case, weights (sha256 of the output's tensors) and events (sha256 of events.jsonl
without what clocks and memory meters say). With `--against FILE` it also says what differs, and
exits 1 where something does.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT

_CLOCKS = ("second", "memory", "_bytes", "diagnostics", "measured", "manifest_sha256")
"""Values whose names hold one of these differ from run to run."""
_SAMPLED = ("displacement", "cosine", "sharpness", "rank", "kl_", "probe_", "small_share")
"""Metrics of a step that are measured where there is time, so not always after the same steps."""
_METHODS: dict[str, dict[str, Any]] = {
    "adamw": {"name": "adamw"},
    "lora": {"name": "lora"},
    "apollo": {"name": "apollo"},
    "apollo_mini": {"name": "apollo_mini"},
    "apollo-torch": {"name": "apollo", "implementation": "apollo-torch"},
    "apollo_mini-torch": {"name": "apollo_mini", "implementation": "apollo-torch"},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: what its recipe changes, and after which step it is interrupted, if at all."""

    name: str
    changes: dict[str, Any]
    resume: bool = False
    """Go on from the state within the second epoch in a second attempt, which is compared."""


def cases() -> Iterator[Case]:
    """Every method plain, accumulated and resumed; every defence; what else turns arithmetic."""
    long = {"epochs": 2, "examples_per_step": 3, "schedule": "cosine", "warmup_steps": 2}
    for name, method in _METHODS.items():
        yield Case(name=name, changes={"method": method})
        yield Case(name=f"{name}, resumed", changes={"method": method, **long}, resume=True)
    adamw = {"method": {"name": "adamw"}}
    others: dict[str, dict[str, Any]] = {
        "masked labels": {"context_frozen": False},
        "linear, no clipping": {"schedule": "linear", "max_gradient_norm": None},
        "warm-up, constant, decay": {"warmup_steps": 3, "weight_decay": 0.1},
        "gradient window": {"context": {"grad_window": 5}, "examples_per_step": 2},
        "L2": {"defences": {"l2_strength": 0.1}},
        "EWC by row": {"defences": {"ewc_strength": 1.0, "ewc_variant": "row"}, "batches": 2},
        "EWC diagonal": {
            "defences": {"ewc_strength": 1.0, "ewc_variant": "diagonal"},
            "batches": 2,
        },
        "unlikely masked": {"defences": {"mask_below_probability": 0.0038}},
        "replay": {"batches": 2, "examples_per_step": 2},
        "watch": {"watch": {"watch_every_steps": 2}, "probes": True},
        "brake": {"watch": {"watch_every_steps": 2, "brake_rise": 1e-4}, "probes": True},
        "two processes": {"ranks": {"processes": 2}, "examples_per_step": 3},
        "two processes, shards": {
            "ranks": {"processes": 2, "sharding": "fsdp2"},
            "examples_per_step": 3,
        },
    }
    for name, changes in others.items():
        yield Case(name=name, changes=adamw | changes)
    yield Case(name="EWC, resumed", changes=adamw | long | others["EWC by row"], resume=True)
    lora = {"method": {"name": "lora"}, "defences": {"ewc_strength": 1.0}, "batches": 2}
    yield Case(name="lora, EWC, resumed", changes=lora | long, resume=True)
    apollo = {"method": {"name": "apollo"}}
    yield Case(name="apollo, masked labels", changes=apollo | {"context_frozen": False})
    yield Case(
        name="two processes, resumed",
        changes=adamw | long | {"ranks": {"processes": 2}},
        resume=True,
    )


def recipe(case: Case, model: Path, batches: list[Path]) -> dict[str, Any]:
    """The case's config.json."""
    changes = dict(case.changes)
    kinds = ("conversation", "general")[: changes.pop("batches", 1)]
    probe = {"key": "p1", "name": "Probe", "path": str(model / "probe.jsonl")}
    probes = [probe] if changes.pop("probes", False) else []
    return {
        "model": str(model),
        "anchor_model": str(model),
        "batches": [
            {"key": f"b{i}", "name": f"Batch {i}", "kind": kind, "path": str(path), "weight": 1 / i}
            for i, (kind, path) in enumerate(zip(kinds, batches, strict=False), start=1)
        ],
        "probes": probes,
        "learning_rate": 1e-3,
        "device": "cpu",
        "threads": 1,
        "save_every_steps": 4,
        "diagnostics": {"gradient_cosine": False, "sharpness": False, "change_rank": False},
        **changes,
    }


def fingerprint(case: Case, directory: Path, checkout: Path, settings: dict[str, Any]) -> Any:
    """Run a case and return its line."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(settings))
    attempt = directory / "attempts/0"
    _engine_run(checkout, directory, ["--attempt", "0"])
    if case.resume:
        state = min((attempt / "trainer").glob("step-*"))
        _engine_run(checkout, directory, ["--attempt", "1", "--resume", str(state)])
        attempt = directory / "attempts/1"
    return {
        "case": case.name,
        "weights": _weights_sha256(attempt / "output/model.safetensors"),
        "events": _events_sha256(attempt / "events.jsonl", str(directory)),
    }


def _engine_run(checkout: Path, directory: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "training", str(directory), *options]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{directory.name} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def _weights_sha256(path: Path) -> str:
    """Of every tensor by name; not of the file, whose header may hold other things."""
    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _events_sha256(path: Path, directory: str) -> str:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = json.dumps([_timeless(line) for line in lines], sort_keys=True)
    return hashlib.sha256(text.replace(directory, "").encode()).hexdigest()


def _timeless(value: Any, dropped: tuple[str, ...] = _CLOCKS) -> Any:
    """Without what a clock or a memory meter says, or depends on one."""
    if isinstance(value, dict):
        inner = (*_CLOCKS, *_SAMPLED) if value.get("event") == "metric" else dropped
        return {
            key: _timeless(item, inner)
            for key, item in value.items()
            if not any(word in key for word in dropped)
        }
    return [_timeless(item, dropped) for item in value] if isinstance(value, list) else value


def materials(folder: Path) -> tuple[Path, list[Path]]:
    """Write a tiny model and two ingested batches."""
    from tests.tiny_model import tiny_model_write
    from tests.training.toys import batch_ingest, conversation

    model = folder / "model"
    tiny_model_write(model)
    texts = [f"Prose of {n} ships that sail at dawn. " * 4 for n in range(6)]
    lines = [{"text": t, "sha256": hashlib.sha256(t.encode()).hexdigest()} for t in texts]
    (model / "probe.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    batches = []
    for name, first in (("first", 0), ("second", 100)):
        records = [conversation(first + n, decisions=1 + n % 3, any_side=True) for n in range(14)]
        batches.append(batch_ingest(folder / name, model, records))
    return model, batches


def main() -> int:
    """Print a line a case; return 1 where one differs from `--against`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose engine to run")
    parser.add_argument("--against", type=Path, help="the lines of an earlier run")
    options = parser.parse_args()
    before: dict[str, Any] = {}
    if options.against is not None:
        lines = options.against.read_text().splitlines()
        before = {line["case"]: line for line in map(json.loads, lines)}
    differing = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, batches = materials(folder)
        for number, case in enumerate(cases()):
            settings = recipe(case, model, batches)
            line = fingerprint(case, folder / f"run{number}", options.checkout, settings)
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            if options.against is not None and (other := before.get(case.name)) != line:
                differing += 1
                parts = [k for k in line if other is None or other[k] != line[k]]
                sys.stdout.write(f"# {case.name} differs: {', '.join(parts)}\n")
    if options.against is not None:
        sys.stdout.write(f"# {differing} of {number + 1} cases differ\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
