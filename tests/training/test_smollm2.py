"""The real base model, from the package's GGUF to a trained checkpoint, by the engine alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.manifest import manifest_check
from engine.modelcheck import model_directory_problems
from engine.tensorfiles import parameter_count, tensor_shapes
from tests.event_log import logged_events
from training.base_model import write

STEPS = 4


@pytest.mark.slow
def test_smollm2_learns_an_answer_in_four_steps(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write(model)
    assert model_directory_problems(model) == []
    assert parameter_count(tensor_shapes(model)) == 134_515_008

    turns = [
        {"role": "user", "content": "What is the harbour's colour?"},
        {"role": "assistant", "content": "The harbour is painted ultramarine.", "train": True},
    ]
    example = {"line": 1, "sha256": "0" * 64, "held_out": False, "turns": turns}
    batch = tmp_path / "examples.jsonl"
    batch.write_text(json.dumps(example) + "\n", encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    config = {
        "model": str(model),
        "batches": [{"key": "b", "name": "Harbour", "kind": "general", "path": str(batch)}],
        "method": {"name": "adamw"},
        "learning_rate": 1e-4,
        "epochs": STEPS,
        "save_every_steps": 1000,
    }
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")

    engine = subprocess.run(
        [sys.executable, "-m", "training", str(run)], capture_output=True, text=True
    )
    assert engine.returncode == 0, engine.stderr[-2000:]
    events = logged_events(run / "attempts" / "0" / "events.jsonl")
    losses = [event["values"]["loss_nats"] for event in events if event["event"] == "metric"]
    assert len(losses) == STEPS
    assert losses[-1] < 0.5 * losses[0]
    assert manifest_check(run / "attempts" / "0" / "output")
