"""What a state holds beside the reporter's record, and how a run goes on from it.

    weights.safetensors   the parameters that are trained, by the names of the model in training
    optimizer.pt          the optimizer's state_dict, in whole tensors
    scheduler.pt          the schedule's state_dict
    rng_state.pth         this rank's random numbers; those of further ranks in rank-<N>/

All files are read by `torch.load(weights_only=True)` or safetensors: nothing in a state is code.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from training.config import RunConfig
from training.ranks.group import Ranks
from training.ranks.sharding import Holding

_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.pt"
_SCHEDULE = "scheduler.pt"
_RANDOM = "rng_state.pth"


def weights_write(model: nn.Module, directory: Path) -> None:
    """Write the parameters of a whole model that are trained."""
    trained = {n: p.detach().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    save_file(trained, directory / _WEIGHTS)


def weights_load(holding: Holding, directory: Path) -> None:
    """Give the model the weights of a state: each rank takes what it holds of every tensor."""
    path = directory / _WEIGHTS
    if not path.is_file():
        holding.weights_take(_weights_of_version_0_1(holding, directory))
        return
    with safe_open(path, framework="pt") as stored:
        # Each tensor is read when it is copied: the file is never in memory as a whole.
        holding.weights_take(_Stored(stored))


class _Stored(Mapping[str, torch.Tensor]):
    """The tensors of an open safetensors file, read when they are asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = list(file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _weights_of_version_0_1(holding: Holding, directory: Path) -> dict[str, torch.Tensor]:
    """The trained weights of a state that was saved as a model directory or as an adapter."""
    adapter = directory / "adapter_model.safetensors"
    if adapter.is_file():
        stored = load_file(adapter)
        return {name.replace(".weight", ".default.weight"): t for name, t in stored.items()}
    files = sorted(directory.glob("model*.safetensors"))
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    names = {name for name, p in holding.model.named_parameters() if p.requires_grad}
    return {name: tensor for name, tensor in tensors.items() if name in names}


def optimizer_write(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, directory: Path
) -> None:
    """Write what the optimizer and the schedule carry from step to step."""
    torch.save(optimizer.state_dict(), directory / _OPTIMIZER)
    torch.save(scheduler.state_dict(), directory / _SCHEDULE)


def optimizer_load(
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    directory: Path,
    config: RunConfig,
) -> None:
    """Read back what `optimizer_write` wrote. ConfigError where another implementation did."""
    method = config.method
    with method.kind.state_loading(method):
        state = torch.load(directory / _OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state)
    method.kind.state_settle(optimizer, method)
    scheduler.load_state_dict(torch.load(directory / _SCHEDULE, weights_only=True))


def random_write(directory: Path) -> None:
    """Write where this process stands in its random numbers."""
    directory.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.random.get_rng_state()
    torch.save(state, directory / _RANDOM)


def random_load(ranks: Ranks, directory: Path, *, seed: int, step: int) -> None:
    """Go on in a state's random numbers; a rank that the state does not know draws its own."""
    # Allows NumPy's arrays, whose classes torch does not trust by itself.
    from transformers.trainer_pt_utils import safe_globals

    path = ranks.directory(directory) / _RANDOM
    if not path.is_file():  # there were fewer ranks
        ranks.seed(seed, step)
        return
    with safe_globals():
        state = torch.load(path, weights_only=True)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.random.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.random.set_rng_state(state["cuda"])
