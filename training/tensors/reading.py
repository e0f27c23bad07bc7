"""A model that is read from its files part by part: what a process does not hold, it never reads.

The model is built on torch's meta device, names and shapes without numbers. Parameters then get
what this process holds of them (a DTensor's part, or all), and the numbers are read straight into
it, a piece of rows at a time. Only tensors that are converted when they are loaded, such as the
experts of a layer, are in memory as a whole, one group of them at a time.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from engine.tensorfiles import TensorPlace, tensor_places
from training.frozen.reader import base_model
from training.tensors.mapping import TensorMap
from training.tensors.parts import cut_axis, held, held_slices, part_like
from training.tensors.stored import rows_read, whole_read
from training.tensors.weights import plain_name


@contextmanager
def as_if_there(model: nn.Module) -> Iterator[None]:
    """Within, parameters on the meta device stand on the CPU as one zero, seen everywhere.

    So what is made beside them, such as an adapter, is drawn on the CPU as it is elsewhere.
    """
    shown: dict[int, nn.Parameter] = {}
    hidden: dict[int, nn.Parameter] = {}
    for module in list(model.modules()):
        for name, parameter in _own_parameters(module):
            if not parameter.is_meta:
                continue
            if id(parameter) not in shown:
                zero = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
                stand_in = nn.Parameter(zero, requires_grad=parameter.requires_grad)
                shown[id(parameter)], hidden[id(stand_in)] = stand_in, parameter
            setattr(module, name, shown[id(parameter)])
    try:
        yield
    finally:
        for module in model.modules():
            for name, one in _own_parameters(module):
                if id(one) in hidden:
                    parameter = hidden[id(one)]
                    parameter.requires_grad_(one.requires_grad)
                    setattr(module, name, parameter)


def _own_parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """A module's own parameters by name, also one that stands under two names."""
    return list(module.named_parameters(recurse=False, remove_duplicate=False))


@torch.no_grad()
def parts_make(model: nn.Module, device: torch.device | str) -> None:
    """Give every parameter that is on the meta device room on the device for what is held of it."""
    for parameter in {id(one): one for one in model.parameters()}.values():
        if not parameter.is_meta:
            continue
        room: Any
        if isinstance(parameter, DTensor):
            room = part_like(torch.empty_like(held(parameter), device=device), parameter)
        else:
            room = torch.empty_like(parameter, device=device)
        # The same object goes on, which tied layers and FSDP2 know.
        torch.utils.swap_tensors(
            parameter, nn.Parameter(room, requires_grad=parameter.requires_grad)
        )


@torch.no_grad()
def weights_read(
    model: nn.Module, directory: Path | str, tensors: TensorMap, without: Collection[str] = ()
) -> None:
    """Read every parameter and stored buffer of a model from a directory: what is held of each.

    tensors: of the model as it was built, whatever wraps its layers by now. without: the plain
    model's names of parameters that are left as they are.
    """
    places = tensor_places(directory)
    targets = _targets(model)
    for group in (*tensors.groups, *tensors.untaught):
        wanted = [name for name in group.parameters if name not in without]
        if not wanted:
            continue
        if group.way_in is None:
            (name,) = group.parameters
            fill(targets[name], places[group.files[0]])
            continue
        parts = {name: whole_read(places[name]) for name in group.files}
        made = tensors.loaded(group, parts)
        del parts
        for name in wanted:
            target: Any = targets[name]
            slices = held_slices(target.shape, cut_axis(target), target)
            held(target).copy_(made.pop(name)[*slices])


def _targets(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """Parameters and buffers by the plain model's names."""
    base = base_model(model)
    named = (*base.named_parameters(), *base.named_buffers())
    return {plain_name(name): one for name, one in named if ".lora_" not in name}


@torch.no_grad()
def fill(target: Any, place: TensorPlace) -> None:
    """Copy a stored tensor's numbers to where they are held: all, or this process's part."""
    slices_fill(held(target), held_slices(target.shape, cut_axis(target), target), place)


def slices_fill(local: torch.Tensor, slices: list[slice], place: TensorPlace) -> None:
    """Copy some slices of a stored tensor, one of each axis."""
    if not local.numel():
        return
    if not slices:
        local.copy_(whole_read(place))
        return
    first, *others = slices
    for offset, rows in rows_read(place, first.start, first.stop):
        local[offset : offset + len(rows)].copy_(rows[:, *others])
