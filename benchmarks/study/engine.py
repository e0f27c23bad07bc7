"""Runs the training engine as a child, one after the other, and reads what it tells."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.study.plan import FROZEN, Setting
from engine.events import Done, Metric, read_events
from training.config import BatchConfig, DiagnosticsConfig, MethodConfig, RunConfig

DIAGNOSTICS = DiagnosticsConfig(gradient_sparsity=False, diagnostics_share=0.25)
"""These sessions are so short that the usual 5 % would measure the sharpness of one step only."""


def run_config(
    setting: Setting, *, model: Path, batches: list[BatchConfig], steps: int, max_tokens: int
) -> dict[str, Any]:
    """The recipe of one run: one example a step, constant rate, float32."""
    config = RunConfig(
        model=str(model),
        batches=tuple(batches),
        method=MethodConfig(name=setting.method),
        learning_rate=setting.rate,
        epochs=steps,  # more than enough: max_steps ends it
        max_steps=steps,
        seed=setting.seed,
        context_frozen=setting.gradient == FROZEN,
        max_example_tokens=max_tokens,
        save_every_steps=1_000_000,
        diagnostics=DIAGNOSTICS,
    )
    return config.to_json()


def engine_run(directory: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Run the engine in an emptied directory; return its summary and its metrics, step by step."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-m", "training", str(directory)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if child.returncode:
        raise SystemExit(f"The engine ended with {child.returncode}:\n{child.stderr[-2000:]}")
    events, _ = read_events(directory / "attempts/0/events.jsonl")
    return {
        "summary": next(one.summary for one in events if isinstance(one, Done)),
        "metrics": [one.values for one in events if isinstance(one, Metric)],
        "output": directory / "attempts/0/output",
    }
