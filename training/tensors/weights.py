"""The weights of a model in training, as its parent's files name and divide them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.frozen.reader import base_model
from training.tensors.mapping import Group, TensorMap
from training.tensors.originals import Original
from training.tensors.parts import whole_tensor

_WRAPPED = re.compile(r"(\.base_layer)+\.")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A weight that stands in the files as it stands in the model."""

    name: str
    """In the files."""
    parameter: nn.Parameter | Original
    """Or, where the model in training holds it in few bits, what reads the parent's own."""
    module: Any
    """The LoRA module that adapts it, or None."""


class StoredWeights:
    """The taught weights of one model; LoRA's products are added where there are any."""

    def __init__(self, model: nn.Module, tensors: TensorMap) -> None:
        self._tensors = tensors
        self._sources = weight_sources(model)

    def sources(self) -> Iterator[Source]:
        """Yield what stands in the files as it is; tied weights once."""
        for group in self._tensors.groups:
            if group.way_back is None:
                parameter, module = self._sources[group.parameters[0]]
                yield Source(name=_one_name(group), parameter=parameter, module=module)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield (name in the files, shape) of every tensor; tied weights once."""
        for name, tensor in self._once(empty=True):
            yield name, tuple(tensor.shape)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name in the files, tensor), one group's in memory at a time; tied weights once.

        Where processes share the model, all must go through it: each group is gathered.
        """
        return self._once(empty=False)

    def _once(self, *, empty: bool) -> Iterator[tuple[str, torch.Tensor]]:
        for group in self._tensors.groups:
            made = self.stored(group, empty=empty)
            if group.way_back is None:
                made = {_one_name(group): next(iter(made.values()))}
            yield from made.items()

    @torch.no_grad()
    def stored(self, group: Group, *, empty: bool = False) -> dict[str, torch.Tensor]:
        """Return a group's tensors by their names in the files; empty: shapes and dtypes only."""
        weights = {}
        for name in group.parameters:
            parameter, module = self._sources[name]
            weights[name] = _empty(parameter) if empty else weight_merged(parameter, module)
        return self._tensors.stored(group, weights)


def _one_name(group: Group) -> str:
    """The parameter's own name where the files have it, as one of two copies."""
    own = group.parameters[0]
    return own if own in group.files else group.files[0]


def weight_sources(model: nn.Module) -> Mapping[str, tuple[nn.Parameter | Original, Any]]:
    """Return by the plain model's names its parameters and the LoRA modules that adapt them."""
    base = base_model(model)
    adapted = {
        # What adapts a weight that is not a layer's, such as all experts together, names it.
        plain_name(f"{name}.{getattr(module, 'parameter_name', 'weight')}"): module
        for name, module in base.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    parameters: dict[str, nn.Parameter | Original] = {
        plain_name(name): one for name, one in base.named_parameters() if ".lora_" not in name
    }
    for module in base.modules():
        if isinstance(original := getattr(module, "original", None), Original):
            parameters[original.name] = original
    return {name: (parameter, adapted.get(name)) for name, parameter in parameters.items()}


def plain_name(name: str) -> str:
    """Return a parameter's name as it was before LoRA wrapped its layer, perhaps several times."""
    return _WRAPPED.sub(".", name)


def _empty(parameter: nn.Parameter | Original) -> torch.Tensor:
    """Shape and dtype, also of one that is cut over processes."""
    return torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")


def weight_merged(parameter: nn.Parameter | Original, module: Any) -> torch.Tensor:
    """Return a whole weight with LoRA's product added, rounded once to the weight's own dtype; the
    parameter itself without a LoRA module.

    Where the base is held in few bits, the weight is the parent's own, read from its files, and not
    what the model in training multiplies with.
    """
    whole = parameter.read() if isinstance(parameter, Original) else whole_tensor(parameter)
    if module is None:
        return whole
    with _factors_whole(module):
        return (whole + module.get_delta_weight("default")).to(whole.dtype)


@contextmanager
def _factors_whole(module: Any) -> Iterator[None]:
    """Within, a LoRA module has whole factors, whatever processes share them."""
    layers = [factors["default"] for factors in (module.lora_A, module.lora_B)]
    parts = [layer.weight for layer in layers]
    try:
        for layer, one in zip(layers, parts, strict=True):
            del layer.weight  # a parameter's place takes no plain tensor, which gradients need
            layer.weight = whole_tensor(one)
        yield
    finally:
        for layer, one in zip(layers, parts, strict=True):
            del layer.weight
            layer.weight = one
