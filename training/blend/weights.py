"""Blends tensor by tensor, in pieces: the memory that it takes does not grow with the model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from engine.checks import ConfigError
from engine.tensorfiles import TensorPlace
from training.blend.pairing import FLOAT_BYTES, Pair
from training.tensors.files import DTYPES, Entry, header, in_file_order

CHUNK_NUMBERS = 1 << 22
"""Numbers that are blended at once: four arrays of 16 MiB in float32."""


@dataclass
class Distance:
    """‖blend − reference‖₂, summed up in float64 while the blend is written."""

    squares: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By tensor: the squared distance and the reference's squared norm."""

    def add(self, name: str, blend: torch.Tensor, reference: torch.Tensor) -> None:
        """Count one piece of a tensor."""
        moved, size = self.squares.get(name, (0.0, 0.0))
        reference = reference.double()
        moved += (blend.double() - reference).square().sum().item()
        self.squares[name] = (moved, size + reference.square().sum().item())

    @property
    def norm(self) -> float:
        """Over all tensors."""
        return math.sqrt(math.fsum(moved for moved, _ in self.squares.values()))

    @property
    def relative(self) -> float | None:
        """norm ÷ the reference's norm; None for a reference of zeros."""
        size = math.sqrt(math.fsum(size for _, size in self.squares.values()))
        return self.norm / size if size else None

    def to_json(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """As a run's displacement.json has it: {"norm", "relative", "tensors": {name: ...}}."""
        tensors = {
            name: {
                "norm": math.sqrt(moved),
                "relative": math.sqrt(moved / size) if size else None,
                "shape": list(shapes[name]),
            }
            for name, (moved, size) in self.squares.items()
        }
        return {"norm": self.norm, "relative": self.relative, "tensors": tensors}


def file_write(
    path: Path,
    pairs: Sequence[Pair],
    alpha: float,
    *,
    parent: Distance,
    anchor: tuple[Distance, dict[str, TensorPlace]] | None,
    wrote: Callable[[int], None],
) -> None:
    """Write one safetensors file with the blends of these pairs.

    Distances grow by what is written, as stored; `anchor` is measured against the tensors of its
    places. `wrote` is told the bytes of every piece and may raise to stop. Raises ConfigError
    where a number is not finite, or where what cannot be blended differs.
    """
    by_name = {pair.name: pair for pair in pairs}
    ordered = in_file_order([entry_of(pair) for pair in pairs])
    with path.open("wb") as out:
        out.write(header(ordered))
        for pair in (by_name[one.name] for one in ordered):
            reference = anchor[1].get(pair.name) if anchor else None
            for blend, before, origin in _pieces(pair, alpha, reference):
                out.write(_bytes(blend))
                if pair.is_float:
                    parent.add(pair.name, blend, before)
                    if anchor and origin is not None:
                        anchor[0].add(pair.name, blend, origin)
                wrote(blend.numel() * blend.element_size())


def entry_of(pair: Pair) -> Entry:
    """A tensor as it stands in the blend."""
    number_bytes = FLOAT_BYTES.get(pair.dtype, 1)
    return Entry(
        name=pair.name,
        dtype=pair.dtype,
        shape=pair.candidate.shape,
        size_bytes=pair.count * number_bytes if pair.is_float else pair.candidate.size_bytes,
        number_bytes=number_bytes,
    )


def _pieces(
    pair: Pair, alpha: float, reference: TensorPlace | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Yield (blend as stored, parent, anchor) of a tensor, piece by piece."""
    places = [pair.parent, pair.candidate, *([reference] if reference else [])]
    files = [place.file.open("rb") for place in places]
    try:
        total = pair.count if pair.is_float else pair.candidate.size_bytes
        for start in range(0, total, CHUNK_NUMBERS):
            count = min(CHUNK_NUMBERS, total - start)
            before, after, *origin = (
                _read(file, place, start, count) for file, place in zip(files, places, strict=True)
            )
            yield _blend(pair, before, after, alpha), before, origin[0] if origin else None
    finally:
        for file in files:
            file.close()


def _read(file: IO[bytes], place: TensorPlace, start: int, count: int) -> torch.Tensor:
    """`count` numbers of a tensor from number `start` on; bytes of what holds no floats."""
    dtype = DTYPES.get(place.dtype, torch.uint8)
    file.seek(place.offset_bytes + start * dtype.itemsize)
    buffer = bytearray(count * dtype.itemsize)
    if file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
        raise OSError(f"{place.file.name} became shorter while it was read")
    return torch.frombuffer(buffer, dtype=dtype)


def _blend(pair: Pair, before: torch.Tensor, after: torch.Tensor, alpha: float) -> torch.Tensor:
    if not pair.is_float:
        if not torch.equal(before, after):
            message = f"{pair.name} differs and is stored as {pair.dtype}, which cannot be blended"
            raise ConfigError("candidate", message, "Blend models in floats of 16 bits or more.")
        return after
    if before.dtype == after.dtype and torch.equal(before, after):
        return after  # untouched, such as vision: bit for bit, which a weighted sum is not
    # In float32 also where both are stored in 16 bits: the sum is rounded once.
    exact = torch.float64 if pair.dtype == "F64" else torch.float32
    blend = (1 - alpha) * before.to(exact) + alpha * after.to(exact)
    blend = blend.to(DTYPES[pair.dtype])
    if not blend.isfinite().all():
        message = f"{pair.name} holds a number that is not finite"
        raise ConfigError("candidate", message, "Blend a session that did not diverge.")
    return blend


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
