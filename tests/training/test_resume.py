"""Stopping and going on: real child processes, real signals, bit-identical weights."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.process import BAD_INPUT, DONE, STOPPED
from tests.training.processes import Child
from tests.training.toys import events_of, recipe_of
from training.__main__ import main
from training.config import IMPLEMENTATIONS
from training.methods import METHODS

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
# Label masking differs in the gradient only, so one method shows it.
VARIANTS: list[dict[str, Any]] = [
    {"method": {"name": "adamw"}},
    {"method": {"name": "lora"}},
    *(
        {"method": {"name": name, "implementation": implementation}}
        for name, method in METHODS.items()
        for implementation in method.implementations
    ),
    {"method": {"name": "apollo"}, "context_frozen": False},
    {"method": {"name": "adamw"}, "defences": {"l2_strength": 0.1, "ewc_strength": 1.0}},
    {"method": {"name": "lora"}, "defences": {"ewc_strength": 1.0, "ewc_variant": "diagonal"}},
    {"method": {"name": "apollo"}, "defences": {"mask_below_probability": 0.0038}},
]


def weights_of(directory: Path, attempt: int) -> dict[str, torch.Tensor]:
    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


def assert_equal_weights(first: Path, second: Path) -> None:
    """Attempt 0 of the first run and attempt 1 of the second made the very same bits."""
    ours, theirs = weights_of(first, 0), weights_of(second, 1)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def states_of(directory: Path, attempt: int = 0) -> list[Path]:
    return [Path(e["path"]) for e in events_of(directory, attempt) if e["event"] == "saved"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_resumed_run_equals_an_uninterrupted_one(
    recipe: Recipe, run_directory: MakeRun, variant: dict[str, Any]
) -> None:
    """Two epochs with accumulation over their border; the state is from within the second."""
    whole = run_directory(
        recipe,
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=2,
        epochs=2,
        examples_per_step=3,
        **variant,
    )
    assert main([str(whole)]) == DONE
    (state,) = states_of(whole)
    again = run_directory(json.loads((whole / "config.json").read_text()))
    assert main([str(again), "--attempt", "1", "--resume", str(state)]) == DONE
    assert_equal_weights(whole, again)
    ours, theirs = events_of(whole)[-1]["summary"], events_of(again, 1)[-1]["summary"]
    for name in ("steps", "examples", "decision_tokens", "context_tokens", "displacement"):
        assert ours[name] == theirs[name]


LONG = {"method": {"name": "apollo"}, "epochs": 12, "max_steps": 120, "save_every_steps": 25}
"""Takes a second or more on the tiny model, so that a signal lands within it."""


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_directory: Path, examples_path: Path
) -> Path:
    """A long run from its beginning to its end."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    recipe = {**recipe_of(tiny_model_directory, examples_path), **LONG}
    (directory / "config.json").write_text(json.dumps(recipe))
    assert main([str(directory)]) == DONE
    return directory


@pytest.mark.slow
def test_sigterm_saves_and_the_run_goes_on_to_the_same_weights(
    recipe: Recipe, run_directory: MakeRun, uninterrupted: Path
) -> None:
    stopped = run_directory(recipe, **LONG)
    child = Child(stopped)
    child.wait_for(lambda event: event["event"] == "metric" and event["step"] >= 7)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(timeout=60) == STOPPED
    events = events_of(stopped)
    assert events[-1]["event"] == "saved"
    assert events[-1]["step"] == [e["step"] for e in events if e["event"] == "metric"][-1] < 120
    assert not (stopped / "attempts/0/output").exists()
    state = states_of(stopped)[-1]
    assert main([str(stopped), "--attempt", "1", "--resume", str(state)]) == DONE
    assert_equal_weights(uninterrupted, stopped)


@pytest.mark.slow
def test_sigkill_after_a_save_loses_only_what_came_after(
    recipe: Recipe, run_directory: MakeRun, uninterrupted: Path
) -> None:
    killed = run_directory(recipe, **LONG)
    child = Child(killed)
    child.wait_for(lambda event: event["event"] == "saved")
    child.process.kill()
    assert child.process.wait(timeout=60) == -signal.SIGKILL
    state = states_of(killed)[-1]
    assert main([str(killed), "--attempt", "1", "--resume", str(state)]) == DONE
    assert_equal_weights(uninterrupted, killed)


def test_only_the_last_two_states_are_kept(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, save_every_steps=2)
    assert main([str(directory)]) == DONE
    assert [path.name[-2:] for path in states_of(directory)] == ["02", "04", "06", "08"]
    kept = sorted(path.name for path in (directory / "attempts/0/trainer").iterdir())
    assert kept == ["step-000006", "step-000008"]


@pytest.mark.parametrize("written", IMPLEMENTATIONS)
def test_the_other_implementations_state_is_refused(
    recipe: Recipe, run_directory: MakeRun, written: str
) -> None:
    """A recipe of an earlier version named none and meant apollo-torch: its state says so."""
    first = run_directory(recipe, method={"name": "apollo", "implementation": written})
    assert main([str(first)]) == DONE
    (other,) = set(IMPLEMENTATIONS) - {written}
    again = run_directory(recipe, method={"name": "apollo", "implementation": other})
    state = str(states_of(first)[-1])
    assert main([str(again), "--attempt", "1", "--resume", state]) == BAD_INPUT
    error = events_of(again, 1)[-1]
    assert error["where"] == "method.implementation"
    assert f'"{written}"' in error["cure"]


def test_a_torn_state_is_refused(recipe: Recipe, run_directory: MakeRun, tmp_path: Path) -> None:
    directory = run_directory(recipe)
    assert main([str(directory)]) == DONE
    state = states_of(directory)[-1]

    def resumed(attempt: int, spoil: Callable[[Path], object]) -> str:
        torn = Path(shutil.copytree(state, tmp_path / f"torn{attempt}" / state.name))
        spoil(torn)
        arguments = [str(directory), "--attempt", str(attempt), "--resume", str(torn)]
        assert main(arguments) == BAD_INPUT
        return str(events_of(directory, attempt)[-1]["message"])

    def flip(torn: Path) -> None:
        content = bytearray((torn / "optimizer.pt").read_bytes())
        content[len(content) // 2] ^= 1
        (torn / "optimizer.pt").write_bytes(content)

    assert "no COMPLETE" in resumed(1, lambda torn: (torn / "COMPLETE").unlink())
    assert "optimizer.pt is missing" in resumed(2, lambda torn: (torn / "optimizer.pt").unlink())
    assert "optimizer.pt was changed" in resumed(3, flip)
    assert "no COMPLETE" in resumed(4, shutil.rmtree)
