"""How far the weights have moved: ‖W − W_reference‖₂, whole and tensor by tensor.

References are read from their safetensors files one tensor at a time, so measuring takes no second
copy of the model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.modelcheck import tensor_places
from training.streaming import base_model

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """The distance from one reference."""

    norm: float
    """‖W − W_reference‖₂ over all tensors."""
    reference_norm: float
    """‖W_reference‖₂."""
    tensors: dict[str, tuple[float, float]]
    """By tensor: its own distance and its reference's norm."""

    @property
    def relative(self) -> float | None:
        """norm ÷ reference_norm; None for a reference of zeros."""
        return self.norm / self.reference_norm if self.reference_norm else None


class Reference:
    """The weights of a model directory, as stored."""

    def __init__(self, directory: Path | str) -> None:
        places = tensor_places(directory)
        self._places = {name: place for name, place in places.items() if place.dtype in _DTYPES}

    def missing(self, model: nn.Module) -> str | None:
        """Return a trained tensor's name that the files lack or hold in another shape, or None."""
        for name, tensor in merged_weights(model):
            place = self._places.get(name)
            if place is None or place.shape != tuple(tensor.shape):
                return name
        return None

    def _read(self, name: str) -> torch.Tensor:
        # Plain reads: what a mapping has touched would count as this process's memory.
        place = self._places[name]
        buffer = bytearray(place.size_bytes)
        with place.file.open("rb") as file:
            file.seek(place.offset_bytes)
            file.readinto(buffer)
        return torch.frombuffer(buffer, dtype=_DTYPES[place.dtype]).reshape(place.shape)

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Displacement:
        """Return the distance of a model's weights from this reference, in float32."""
        tensors = {}
        for name, tensor in merged_weights(model):
            reference = self._read(name).to(tensor.device, torch.float32)
            size = torch.linalg.vector_norm(reference).item()
            moved = torch.linalg.vector_norm(reference - tensor).item()
            tensors[name] = (moved, size)
        return Displacement(
            norm=math.sqrt(sum(moved**2 for moved, _ in tensors.values())),
            reference_norm=math.sqrt(sum(size**2 for _, size in tensors.values())),
            tensors=tensors,
        )


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name in the files, tensor) of every weight, LoRA's product added where there is one.

    Tied weights come once.
    """
    adapted = {}
    for name, module in base_model(model).named_modules():
        if hasattr(module, "get_delta_weight"):
            adapted[f"{name}.base_layer.weight"] = (f"{name}.weight", module)
    for name, parameter in base_model(model).named_parameters():
        if ".lora_" in name:
            continue
        if name in adapted:
            plain_name, module = adapted[name]
            yield plain_name, parameter + module.get_delta_weight("default")
        else:
            yield name.replace(".base_layer.", "."), parameter
