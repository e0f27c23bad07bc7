"""`python -m tests.training.optimizers.cut_program PLACE`: APOLLO over matrices that are cut.

DIR/cuts.json has {"methods", "steps", "cuts": [[shape, axis or null], ...]}; the first rank writes
by method the whole weights and the state, gathered, to DIR/cut.pt.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from engine.process import supervise_self
from tests.training.optimizers.test_apollo import SEED, noise_set, parameters_make, stacks_make
from training.optimizers.apollo import Apollo
from training.ranks.group import ranks_join
from training.ranks.launch import Place


def whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def steps_take(mesh: Any, method: str, steps: int, cuts: list[Any]) -> dict[str, Any]:
    """Take the steps; return the whole weights and the whole state."""
    wholes = parameters_make(*(tuple(shape) for shape, _ in cuts))
    placements = [Replicate() if axis is None else Shard(axis) for _, axis in cuts]

    def parts(tensors: list[Any]) -> list[Any]:
        return [
            distribute_tensor(one.detach(), mesh, [placement], src_data_rank=None)
            for one, placement in zip(tensors, placements, strict=True)
        ]

    cut = [nn.Parameter(one) for one in parts(wholes)]
    optimizer = Apollo(stacks_make(cut, method), lr=0.003, seed=SEED)
    for step in range(steps):
        noise_set(wholes, step)
        for part, gradient in zip(cut, parts([one.grad for one in wholes]), strict=True):
            part.grad = gradient
        optimizer.step()
    state = optimizer.state_dict()["state"]
    return {
        "weights": [whole(one.detach()) for one in cut],
        "state": {n: {key: whole(one) for key, one in kept.items()} for n, kept in state.items()},
    }


def main() -> None:
    """Do it by every method."""
    place = Place(**json.loads(sys.argv[1]))
    supervise_self(place.launcher_fd)
    torch.set_num_threads(1)
    ranks = ranks_join(place)
    directory = Path(place.directory)
    wanted = json.loads((directory / "cuts.json").read_text())
    mesh = init_device_mesh("cpu", (place.count,))
    results = {
        method: steps_take(mesh, method, wanted["steps"], wanted["cuts"])
        for method in wanted["methods"]
    }
    if ranks.first:
        torch.save(results, directory / "cut.pt")
    ranks.wait()


if __name__ == "__main__":
    main()
