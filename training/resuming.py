"""What a state holds beside the reporter's record, and how a run goes on from it.

    weights.safetensors   the parameters that are trained, by the names of the model in training
    optimizer.safetensors the tensors of the optimizer's state, whole, by parameter and name
    optimizer.pt          the rest of its state_dict
    scheduler.pt          the schedule's state_dict
    rng_state.pth         this rank's random numbers; those of further ranks in rank-<N>/

Where ranks share the model, tensors are gathered one at a time to be written, and each rank reads
its own part of them. All files are read by `torch.load(weights_only=True)` or as safetensors:
nothing in a state is code.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from engine.tensorfiles import TensorPlace, header_read
from training.config import RunConfig
from training.ranks.group import Ranks
from training.ranks.sharding import Holding
from training.tensors.files import DTYPE_NAMES, DTYPES, tensors_write
from training.tensors.parts import cut_axis, held, held_slices, part
from training.tensors.reading import fill, slices_fill
from training.tensors.stored import whole_read

_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.pt"
_MOMENTS = "optimizer.safetensors"
_SCHEDULE = "scheduler.pt"
_RANDOM = "rng_state.pth"


def weights_write(model: nn.Module, directory: Path | None) -> None:
    """Write the parameters that are trained; without a directory only take part in gathering."""
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    tensors_write(directory and directory / _WEIGHTS, trained)


@torch.no_grad()
def weights_load(holding: Holding, directory: Path) -> None:
    """Give the model the weights of a state: each rank takes what it holds of every tensor."""
    holding.at_rest()
    trained = {name: p for name, p in holding.model.named_parameters() if p.requires_grad}
    path = directory / _WEIGHTS
    if path.is_file():
        places = header_read(path)
        for name, parameter in trained.items():
            fill(parameter, places[name])
        return
    stored = _weights_of_version_0_1(holding, directory)
    for name, parameter in trained.items():
        slices = held_slices(parameter.shape, cut_axis(parameter), parameter)
        held(parameter).copy_(stored[name][*slices])


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
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, directory: Path | None
) -> None:
    """Write what the optimizer and the schedule carry from step to step; without a directory only
    take part in gathering."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    others: dict[Any, dict[str, Any]] = {}
    for number, one in state["state"].items():
        others[number] = {key: value for key, value in one.items() if not _is_stored(value)}
        tensors |= {f"{number}/{key}": value for key, value in one.items() if _is_stored(value)}
    tensors_write(directory and directory / _MOMENTS, tensors)
    if directory is not None:
        torch.save({**state, "state": others}, directory / _OPTIMIZER)
        torch.save(scheduler.state_dict(), directory / _SCHEDULE)


def _is_stored(value: Any) -> bool:
    """Whether it is a tensor that is large enough to be written by itself."""
    return isinstance(value, torch.Tensor) and value.ndim > 0 and value.dtype in DTYPE_NAMES


def optimizer_load(
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    directory: Path,
    config: RunConfig,
) -> None:
    """Read back what `optimizer_write` wrote, each rank its part. ConfigError where another
    implementation did."""
    method = config.method
    with method.kind.state_loading(method):
        state = torch.load(directory / _OPTIMIZER, map_location="cpu", weights_only=True)
    _state_fill(optimizer, state, directory / _MOMENTS)
    optimizer.load_state_dict(state)
    method.kind.state_settle(optimizer, method)
    scheduler.load_state_dict(torch.load(directory / _SCHEDULE, weights_only=True))


def _state_fill(optimizer: torch.optim.Optimizer, state: dict[str, Any], moments: Path) -> None:
    """Put a state's tensors where they belong, cut as the parameters are; those of version 0.1 are
    there and whole."""
    places = header_read(moments) if moments.is_file() else {}
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if len(numbers) != len(parameters):
        return  # another optimizer's: it is refused when it is loaded
    own = dict(zip(numbers, parameters, strict=True))
    for number, one in state["state"].items():
        for key, value in one.items():
            if isinstance(value, torch.Tensor) and value.ndim:
                one[key] = _state_part(optimizer, own[number], key, value)
    for name, place in places.items():
        number, key = name.split("/", 1)
        one = state["state"].setdefault(int(number), {})
        one[key] = _state_part(optimizer, own[int(number)], key, place)


def _state_part(
    optimizer: Any, parameter: torch.Tensor, key: str, source: TensorPlace | torch.Tensor
) -> torch.Tensor:
    """Return what this rank holds of a tensor of a parameter's state, whole in a file or here."""
    axis = cut_axis(parameter)
    if axis is not None and hasattr(optimizer, "state_axis"):
        axis = optimizer.state_axis(parameter, key)
    if axis is None:
        return source if isinstance(source, torch.Tensor) else whole_read(source)
    slices = held_slices(source.shape, axis, parameter)
    if isinstance(source, torch.Tensor):
        local = source[*slices].contiguous()
    else:
        local = torch.empty([one.stop - one.start for one in slices], dtype=DTYPES[source.dtype])
        slices_fill(local, slices, source)
    return part(local.to(parameter.device), tuple(source.shape), axis, parameter)


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
