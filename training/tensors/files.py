"""Safetensors files, written piece by piece: the memory that it takes does not grow with them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.directory import json_write
from engine.tensorfiles import TensorPlace
from training.tensors.parts import whole_tensor

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Floating formats, by what safetensors calls them."""
STORED_DTYPES = {
    **DTYPES,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""All formats that a model's tensors are read from, buffers too."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_PIECE_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tensor of a file that is written."""

    name: str
    dtype: str
    """As safetensors calls it."""
    shape: tuple[int, ...]
    size_bytes: int
    number_bytes: int
    """Of one number; 1 where that is not known."""


def in_file_order(entries: Sequence[Entry]) -> list[Entry]:
    """The widest first, so that every tensor begins at a multiple of its number's size."""
    return sorted(entries, key=lambda one: -one.number_bytes)


def header(entries: Sequence[Entry]) -> bytes:
    """Return what stands before the tensors of a file, in this order."""
    fields: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for one in entries:
        start, end = end, end + one.size_bytes
        shape = list(one.shape)
        fields[one.name] = {"dtype": one.dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def index_write(directory: Path, files: Mapping[str, Sequence[Entry]]) -> None:
    """Write which file holds which tensor, where that is not a single one of the usual name."""
    if list(files) == [SINGLE]:
        return
    weight_map = {one.name: name for name, entries in files.items() for one in entries}
    total = sum(one.size_bytes for entries in files.values() for one in entries)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    json_write(directory / INDEX, index)


def tensor_bytes(tensor: torch.Tensor) -> Iterator[bytes]:
    """Yield a tensor's bytes as they stand in a file."""
    flat = tensor.detach().reshape(-1)
    for piece in flat.split(max(1, _PIECE_BYTES // flat.element_size())):
        yield piece.cpu().contiguous().view(torch.uint8).numpy().tobytes()


def entry(name: str, like: torch.Tensor) -> Entry:
    """Return what a file's header says of a tensor of this dtype and shape."""
    return Entry(
        name=name,
        dtype=DTYPE_NAMES[like.dtype],
        shape=tuple(like.shape),
        size_bytes=math.prod(like.shape) * like.dtype.itemsize,
        number_bytes=like.dtype.itemsize,
    )


def tensors_write(
    path: Path | None,
    tensors: Mapping[str, torch.Tensor],
    read: Callable[[str], torch.Tensor] | None = None,
) -> None:
    """Write whole tensors, of which one at a time is gathered where processes share them: all of
    them must call, and those that are given no path write nothing.

    read: gives a tensor's numbers where they are not those of `tensors`.
    """
    ordered = in_file_order([entry(name, one) for name, one in sorted(tensors.items())])
    with nullcontext() if path is None else path.open("wb") as out:
        if out is not None:
            out.write(header(ordered))
        for one in ordered:
            whole = read(one.name) if read else whole_tensor(tensors[one.name])
            if out is not None:
                for piece in tensor_bytes(whole):
                    out.write(piece)


def place_bytes(place: TensorPlace) -> Iterator[bytes]:
    """Yield the bytes of a tensor in a file; OSError where the file has become shorter."""
    with place.file.open("rb") as file:
        file.seek(place.offset_bytes)
        left = place.size_bytes
        while left:
            piece = file.read(min(_PIECE_BYTES, left))
            if not piece:
                raise OSError(f"{place.file.name} became shorter while it was read")
            left -= len(piece)
            yield piece
