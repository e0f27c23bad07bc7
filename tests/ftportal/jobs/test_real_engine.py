"""The real training engine under a worker that is killed in the middle of its run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftportal.jobs.models import Job, JobState, Outcome
from tests.ftportal.jobs.processes import BASE, Portal, engine_of, fresh, is_alive, swept, wait_for
from training.config import example_config

STEPS = 150


def recipe(folder: Path, model: Path) -> dict[str, Any]:
    """A small run with everything that a resumed one must restore: moments, schedule, shuffles."""
    examples = folder / "examples.jsonl"
    with examples.open("w", encoding="utf-8") as file:
        for line in range(1, 31):
            turns = [
                {"role": "user", "content": f"What is {line} and {line}?"},
                {"role": "assistant", "content": f"{2 * line}, as always.", "train": True},
            ]
            record = {"line": line, "sha256": f"{line:064x}", "held_out": False, "turns": turns}
            file.write(json.dumps(record) + "\n")
    batch = {"key": "b1", "name": "Sums", "kind": "conversation", "path": str(examples)}
    return example_config() | {
        "model": str(model),
        "anchor_model": None,
        "probes": [],
        "batches": [{**batch, "weight": 1.0}],
        "method": {"name": "adamw"},
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "epochs": 10,
        "max_steps": STEPS,
        "save_every_steps": 10,
        "max_example_tokens": 128,
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
    }


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_ends_with_the_weights_of_an_undisturbed_one(
    portal: Portal, submit: Callable[..., Job], tmp_path: Path, tiny_model_directory: Path
) -> None:
    config = recipe(tmp_path, tiny_model_directory)
    job = submit("real", **config)
    worker = portal.worker_start("one")

    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text(json.dumps(config))

    wait_for(lambda: fresh(job).resume_state or fresh(job).has_ended, seconds=60)
    assert fresh(job).is_live, fresh(job).error_message
    engine = engine_of(job)
    portal.kill(worker)
    wait_for(lambda: not is_alive(engine), seconds=3, why="the engine's death with its worker")
    assert (fresh(job).progress_done or 0) < STEPS, "killed in the middle"

    command = [sys.executable, "-m", "training", str(alone)]
    undisturbed = subprocess.Popen(command, cwd=BASE, stdout=subprocess.DEVNULL)
    portal.worker_start("two")
    wait_for(swept(job, fence=2), seconds=15, why="a second attempt")
    assert undisturbed.wait(90) == 0
    wait_for(lambda: fresh(job).is_settled, seconds=60, why="the end")
    done = fresh(job)
    assert done.state == JobState.SUCCEEDED, done.error_message
    assert [attempt.outcome for attempt in done.attempts.all()] == [Outcome.LOST, Outcome.DONE]
    assert portal.lines(done, ".finished") == ["succeeded"]
    weights = (done.output_directory / "model.safetensors").read_bytes()
    assert weights == (alone / "attempts/0/output/model.safetensors").read_bytes()
    assert weights != (tiny_model_directory / "model.safetensors").read_bytes()
    assert {int(step) for step in portal.lines(done, ".metrics")} >= set(range(1, STEPS + 1))
