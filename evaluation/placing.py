"""Where a model's weights go: on one GPU, over several, or nowhere, said before anything is loaded.

The decision needs sizes alone, so it is made and tested without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.attempt import EngineError
from engine.process import OUT_OF_MEMORY
from engine.tensorfiles import tensor_places

ROOM_SHARE = 0.1
"""Room beside the weights, as a share of them: buffers, and gaps that no whole layer fills ..."""
ROOM_BYTES = 2_000_000_000
"""... and on every GPU in use, for what a pass computes and for the CUDA context."""
NUMBER_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the weights go."""

    most_bytes: dict[int, int]
    """Of each GPU in use, the weights that it may hold."""

    @property
    def is_spread(self) -> bool:
        """Whether several GPUs share the layers between them."""
        return len(self.most_bytes) > 1

    @property
    def words(self) -> str:
        """For the result and pages."""
        count = len(self.most_bytes)
        return f"spread over {count} GPUs, layer by layer" if self.is_spread else "one GPU"


def weights_bytes(directory: str, dtype: str, gguf: Path | None = None) -> int:
    """Bytes of a model's weights in a number format, counted from the headers of its files."""
    return sum(
        math.prod(shape) * NUMBER_BYTES[dtype] if is_float else size_bytes
        for shape, size_bytes, is_float in (_gguf(gguf) if gguf else _safetensors(directory))
    )


_Sizes = list[tuple[Sequence[int], int, bool]]
"""Of each tensor its shape, its bytes in the file, and whether the format is chosen on loading."""


def _safetensors(directory: str) -> _Sizes:
    return [
        (one.shape, one.size_bytes, one.dtype.startswith(("F", "BF")))
        for one in tensor_places(directory).values()
    ]


def _gguf(file: Path) -> _Sizes:
    from gguf import GGUFReader

    return [([int(side) for side in one.shape], 0, True) for one in GGUFReader(file).tensors]


def placement(needed_bytes: int, free_bytes: Sequence[int]) -> Placement:
    """Where weights of so many bytes go: on the first GPU where they fit, else over all of them.

    `free_bytes`: of each visible GPU. Raises EngineError (OUT_OF_MEMORY) where all of them together
    are too small.
    """
    with_share = math.ceil(needed_bytes * (1 + ROOM_SHARE))
    rooms = [max(0, one - ROOM_BYTES) for one in free_bytes]
    if rooms and with_share <= rooms[0]:
        return Placement(most_bytes={0: rooms[0]})
    usable = {number: room for number, room in enumerate(rooms) if room}
    if len(usable) > 1 and with_share <= sum(usable.values()):
        return Placement(most_bytes=usable)
    count = len(free_bytes)
    there = f"{count} GPUs have" if count > 1 else "the GPU has"
    message = (
        f"its weights take {_gb(needed_bytes)}, with room to compute "
        f"{_gb(with_share + ROOM_BYTES * max(1, count))}, and {there} "
        f"{_gb(sum(free_bytes))} free"
    )
    cure = "Measure in bfloat16 where this was float32, free the GPUs, or give the worker more."
    raise EngineError(OUT_OF_MEMORY, "model", message, cure)


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB"
