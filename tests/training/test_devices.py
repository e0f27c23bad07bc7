"""Every method takes a step and goes on from a state, on the processor and on a GPU alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.process import DONE
from tests.training.toys import events_of
from training.__main__ import main
from training.methods import METHODS

MakeRun = Callable[..., Path]
Record = Callable[[str, object], None]
WAYS = [
    {"name": name, **({"implementation": way} if way else {})}
    for name, kind in METHODS.items()
    for way in kind.implementations or (None,)
]
BARE: dict[str, Any] = {"anchor_model": None, "watch": {"watch_every_steps": 0}}


def weights_of(directory: Path, attempt: int = 0) -> dict[str, torch.Tensor]:
    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


@pytest.mark.parametrize("method", WAYS, ids=lambda way: "-".join(way.values()))
def test_a_step_in_bfloat16_moves_the_weights(
    recipe: dict[str, Any],
    run_directory: MakeRun,
    method: dict[str, str],
    either_device: str,
    record_property: Record,
) -> None:
    directory = run_directory(
        recipe, **BARE, method=method, device=either_device, dtype="bfloat16", max_steps=1
    )
    assert main([str(directory)]) == DONE
    summary = events_of(directory)[-1]["summary"]
    assert summary["device"].startswith(either_device)
    moved = weights_of(directory)
    assert all(one.dtype == torch.bfloat16 and one.isfinite().all() for one in moved.values())
    parent = load_file(Path(recipe["model"]) / "model.safetensors")
    assert any(not torch.equal(parent[name].bfloat16(), one) for name, one in moved.items())
    record_property(f"displacement after a step of {method['name']}", summary["displacement"])


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_session_takes_the_same_steps(
    recipe: dict[str, Any],
    run_directory: MakeRun,
    name: str,
    either_device: str,
    record_property: Record,
) -> None:
    """To the bit on the processor. On a GPU sums of the embedding's rows have no fixed order."""
    changes = {**BARE, "method": {"name": name}, "device": either_device, "max_steps": 6}
    whole = run_directory(recipe, **changes)
    assert main([str(whole)]) == DONE
    (state,) = [Path(e["path"]) for e in events_of(whole) if e["event"] == "saved"]
    again = run_directory(recipe, **changes)
    assert main([str(again), "--attempt", "1", "--resume", str(state)]) == DONE
    once, twice = weights_of(whole), weights_of(again, 1)
    furthest = max((once[key] - twice[key]).abs().max().item() for key in once)
    record_property(f"largest difference of a resumed weight, {name}", furthest)
    assert furthest == 0 if either_device == "cpu" else furthest < 1e-5
