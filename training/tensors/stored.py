"""Tensors of a safetensors file, read a piece of rows at a time.

Plain reads: what a mapping has touched would count as this process's memory.
"""

import math
from collections.abc import Iterator

import torch

from engine.checks import ConfigError
from engine.tensorfiles import TensorPlace
from training.tensors.files import STORED_DTYPES

_PIECE_NUMBERS = 1 << 22
"""Read at once, in whole rows: 16 MiB of float32."""


def rows_read(place: TensorPlace, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (number of rows before it, piece) of rows start..stop-1 of a stored tensor.

    OSError where the file has become shorter.
    """
    dtype = _dtype(place)
    width = math.prod(place.shape[1:])
    row_bytes = width * dtype.itemsize
    step = max(1, _PIECE_NUMBERS // max(1, width))
    with place.file.open("rb") as file:
        file.seek(place.offset_bytes + start * row_bytes)
        for offset in range(0, stop - start, step):
            count = min(step, stop - start - offset)
            buffer = bytearray(count * row_bytes)
            if file.readinto(buffer) != len(buffer):
                raise OSError(f"{place.file.name} became shorter while it was read")
            yield offset, torch.frombuffer(buffer, dtype=dtype).view(count, *place.shape[1:])


def whole_read(place: TensorPlace) -> torch.Tensor:
    """Return a stored tensor, on the CPU."""
    if not place.shape:
        with place.file.open("rb") as file:
            file.seek(place.offset_bytes)
            return torch.frombuffer(bytearray(file.read(place.size_bytes)), dtype=_dtype(place))[0]
    tensor = torch.empty(place.shape, dtype=_dtype(place))
    for offset, rows in rows_read(place, 0, place.shape[0]):
        tensor[offset : offset + len(rows)] = rows
    return tensor


def _dtype(place: TensorPlace) -> torch.dtype:
    dtype = STORED_DTYPES.get(place.dtype)
    if dtype is None:
        message = f"a tensor in {place.file.name} is stored as {place.dtype}, which is not known"
        raise ConfigError("model", message, "Save the model in bfloat16 or float32.")
    return dtype
