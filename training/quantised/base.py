"""Reads a model whose layers are held in 8 or 4 bit beside their adapters.

No process ever holds the whole model in full precision: it is built without numbers, and each
weight is read, rounded on the device and let go. What is not rounded (embeddings, the head, norms,
biases and what gets no adapter of its own) is held in the run's dtype.
"""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.checks import ConfigError
from engine.packages import package_show
from engine.tensorfiles import tensor_places
from engine.tensornames import TensorName, is_projected
from training.frozen.reader import base_model
from training.quantised.layers import QuantisedLinear
from training.tensors.mapping import TensorMap
from training.tensors.originals import Original
from training.tensors.reading import parts_make, weights_read
from training.tensors.weights import plain_name

_FIELD = "method.base_bits"
_PACKAGE = "bitsandbytes"
_OFF_MAX = {8: 0.05, 4: 0.25}
"""Of the weights' norm. Normally distributed numbers are 0.006 and 0.092 off; what is restored
wrongly is a multiple of that."""


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What became of a base."""

    off: float
    """‖restored − weight‖ ÷ ‖weight‖ over all weights that are held in few bits."""
    in_full: tuple[str, ...]
    """Kinds of taught matrices, such as mlp.experts, that are held in the run's dtype."""


def machine_check(bits: int, device: torch.device) -> None:
    """Refuse (ConfigError) a machine without a CUDA GPU, or without the package that rounds."""
    if device.type != "cuda":
        message = f"a base in {bits} bit needs a CUDA GPU, and this machine has none"
        raise ConfigError(_FIELD, message, "Leave it out, or run on a machine with a GPU.")
    package_check(bits)


def package_check(bits: int) -> None:
    """Refuse (ConfigError) where bitsandbytes is not installed; find it again where it is hidden
    (`engine.packages`)."""
    package_show(_PACKAGE)
    if importlib.util.find_spec(_PACKAGE) is None:
        message = f"a base in {bits} bit needs the package {_PACKAGE}, which is not installed here"
        raise ConfigError(_FIELD, message, "Install it: pip install 'ftportal[quantised]'.")


def base_quantise(
    model: nn.Module,
    directory: Path | str,
    tensors: TensorMap,
    *,
    bits: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Rounding:
    """Read a model with its adapters attached and its parameters on the meta device.

    Every linear layer with an adapter is rounded to `bits`; the others are read as they are. The
    model is on `device` afterwards. Raises ConfigError where there is no layer to round, and where
    rounding is so far off that it cannot be right.
    """
    adapted = _adapted_layers(model, tensors)
    if not adapted:
        kind = base_model(model).config.model_type
        message = f"models of type {kind} have no layer that can be held in {bits} bit"
        raise ConfigError(_FIELD, message, "Leave it out for this model.")
    places = tensor_places(directory)
    groups = {name: group for group in tensors.groups for name in group.parameters}
    for name, adapter in adapted.items():
        original = Original(
            name=name,
            shape=tuple(adapter.base_layer.weight.shape),
            dtype=dtype,
            device=device,
            group=groups[name],
            tensors=tensors,
            places=places,
        )
        adapter.base_layer = QuantisedLinear(original, adapter.base_layer.bias)
    parts_make(model, device)
    weights_read(model, directory, tensors, without=adapted)
    squares = [adapter.base_layer.fill(bits) for adapter in adapted.values()]
    model.to(device)
    off = math.sqrt(sum(one for one, _ in squares) / (sum(size for _, size in squares) or 1.0))
    if not off <= _OFF_MAX[bits]:  # a NaN is refused as well
        message = f"in {bits} bit the weights are {100 * off:.0f} % off, which cannot be right"
        cure = f"Leave it out, or use another version of {_PACKAGE} or another GPU."
        raise ConfigError(_FIELD, message, cure)
    return Rounding(off=off, in_full=_parts_in_full(model, tensors))


def _adapted_layers(model: nn.Module, tensors: TensorMap) -> Mapping[str, Any]:
    """The LoRA modules over plain linear layers, by the names of these layers' weights."""
    taught = {name for group in tensors.groups for name in group.parameters}
    layers = {
        plain_name(f"{name}.base_layer.weight"): module
        for name, module in base_model(model).named_modules()
        if type(getattr(module, "base_layer", None)) is nn.Linear
        and not hasattr(module, "parameter_name")  # one that adapts a parameter alone
    }
    return {name: module for name, module in layers.items() if name in taught}


def _parts_in_full(model: nn.Module, tensors: TensorMap) -> tuple[str, ...]:
    """The kinds of taught matrices that are held as parameters; embeddings and head left out."""
    held = {
        plain_name(name): tuple(one.shape)
        for name, one in base_model(model).named_parameters()
        if ".lora_" not in name
    }
    names = [name for group in tensors.groups for name in group.parameters if name in held]
    parts = [TensorName.parse(name).part for name in names if is_projected(name, held[name])]
    return tuple(dict.fromkeys(parts))
