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

from engine.tensorfiles import tensor_places
from training.tensors.files import DTYPES
from training.tensors.mapping import TensorMap
from training.tensors.weights import StoredWeights

_PIECE_NUMBERS = 1 << 20
"""Read and compared at once, so that an embedding takes no more than a small matrix."""


@dataclass(frozen=True, kw_only=True)
class TensorMove:
    """How far one tensor is from its reference."""

    norm: float
    """‖W − W_reference‖₂."""
    reference_norm: float
    """‖W_reference‖₂."""
    shape: tuple[int, ...]

    @property
    def relative(self) -> float | None:
        """norm ÷ reference_norm; None for a reference of zeros."""
        return self.norm / self.reference_norm if self.reference_norm else None


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """The distance from one reference."""

    norm: float
    """‖W − W_reference‖₂ over all tensors."""
    reference_norm: float
    """‖W_reference‖₂."""
    tensors: dict[str, TensorMove]
    """By the tensor's name."""

    @property
    def relative(self) -> float | None:
        """norm ÷ reference_norm; None for a reference of zeros."""
        return self.norm / self.reference_norm if self.reference_norm else None


class Reference:
    """The weights of a model directory, as stored."""

    def __init__(self, directory: Path | str, tensors: TensorMap, *, follows: bool = False) -> None:
        """tensors: which of its tensors hold what of the models that are measured. follows: whether
        another process measures, and this one only takes part in gathering."""
        self.tensors = tensors
        self._follows = follows
        places = tensor_places(directory)
        self._places = {name: place for name, place in places.items() if place.dtype in DTYPES}

    def missing(self, model: nn.Module) -> str | None:
        """Return a trained tensor's name that the files lack or hold in another shape, or None."""
        for name, shape in StoredWeights(model, self.tensors).shapes():
            place = self._places.get(name)
            if place is None or place.shape != shape:
                return name
        return None

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor as it is stored, on the CPU."""
        place = self._places[name]
        (whole,) = self._pieces(name, math.prod(place.shape))
        return whole.reshape(place.shape)

    def _pieces(self, name: str, size: int) -> Iterator[torch.Tensor]:
        """Read a tensor in flat pieces of so many numbers."""
        # Plain reads: what a mapping has touched would count as this process's memory.
        place = self._places[name]
        dtype = DTYPES[place.dtype]
        piece_bytes = size * dtype.itemsize
        with place.file.open("rb") as file:
            file.seek(place.offset_bytes)
            for start in range(0, place.size_bytes, piece_bytes):
                buffer = bytearray(min(piece_bytes, place.size_bytes - start))
                file.readinto(buffer)
                yield torch.frombuffer(buffer, dtype=dtype)

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Displacement:
        """Return the distance of a model's weights from this reference, in float32."""
        tensors: dict[str, TensorMove] = {}
        for name, tensor in StoredWeights(model, self.tensors):
            if self._follows:
                continue
            moved, size = self._distance(name, tensor.reshape(-1))
            tensors[name] = TensorMove(norm=moved, reference_norm=size, shape=tuple(tensor.shape))
        return Displacement(
            norm=math.sqrt(sum(one.norm**2 for one in tensors.values())),
            reference_norm=math.sqrt(sum(one.reference_norm**2 for one in tensors.values())),
            tensors=tensors,
        )

    def _distance(self, name: str, flat: torch.Tensor) -> tuple[float, float]:
        """Return the distance of a flat tensor from this reference's, and the latter's norm."""
        sums = torch.zeros(2, dtype=torch.float64, device=flat.device)
        stored_pieces = self._pieces(name, _PIECE_NUMBERS)
        for piece, stored in zip(flat.split(_PIECE_NUMBERS), stored_pieces, strict=True):
            reference = stored.to(flat.device, torch.float32)
            norms = [torch.linalg.vector_norm(one) for one in (reference - piece, reference)]
            sums += torch.stack(norms).double().square()
        moved, size = sums.sqrt().tolist()
        return moved, size
