"""Tensors that are cut over processes as FSDP2 cuts them: all parts equal but for the last."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard


def held(tensor: Any) -> Tensor:
    """Return what this process holds of a tensor: itself, or its part; no copy."""
    local: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local


def whole_tensor(value: Any) -> Any:
    """Return a DTensor's whole tensor, all ranks together; anything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def cut_axis(tensor: Any) -> int | None:
    """Return the axis along which a tensor is cut; None where this process holds all of it."""
    if not isinstance(tensor, DTensor):
        return None
    (placement,) = tensor.placements
    return placement.dim if isinstance(placement, Shard) else None


def held_slices(shape: torch.Size | tuple[int, ...], axis: int | None, like: Any) -> list[slice]:
    """Return what this process holds of a tensor that is cut along an axis over the processes that
    share `like`: a slice of each axis."""
    slices = [slice(0, size) for size in shape]
    if axis is not None:
        size, mesh = shape[axis], like.device_mesh
        each = -(-size // mesh.size())
        start = min(size, each * mesh.get_local_rank())
        slices[axis] = slice(start, min(size, start + each))
    return slices


def part(local: Tensor, shape: torch.Size | tuple[int, ...], axis: int | None, like: Any) -> Tensor:
    """Make of what this process holds a part of a tensor of this shape, which the processes that
    share `like` hold together; no message is sent."""
    if axis is None:
        return local
    stride = torch.empty(shape, device="meta").stride()
    made: Tensor = DTensor.from_local(
        local,
        like.device_mesh,
        (Shard(axis),),
        run_check=False,
        shape=torch.Size(shape),
        stride=stride,
    )
    return made


def part_like(local: Tensor, like: Any) -> Tensor:
    """Make of what this process holds a part of a tensor that has the shape and cut of another."""
    return part(local, like.shape, cut_axis(like), like)
