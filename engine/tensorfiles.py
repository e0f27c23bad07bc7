"""Where the tensors of a model directory lie, from the safetensors headers alone. No torch here.

A header is taken at its word by nobody: sizes, shapes and offsets have to fit each other and the
file to the byte, as the safetensors library asks too, so that a wrong one is told before it loads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.jsonfiles import json_decode, json_file_read

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
SUFFIX = ".safetensors"
HEADER_LIMIT_BYTES = 32 << 20
"""Of all headers of a model together; the largest models have some 100,000 tensors in 15 MB."""
LENGTH_BYTES = 8
"""Before the header stands how long it is."""
INDEX_LIMIT_BYTES = 32 << 20
FILES_MAX = 2000
_TENSORS_MAX = 250_000
_AXES_MAX = 16
_NUMBERS_MAX = 1 << 60
_NAME_MAX = 500
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


class WeightsError(ValueError):
    """A file of weights is not what it must be: `file` names it, `message` says what is wrong."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file} {message}")
        self.file = file
        self.message = message


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """Where a tensor's bytes lie and how to read them."""

    file: Path
    offset_bytes: int
    size_bytes: int
    dtype: str
    """As safetensors calls it: F32, BF16, ..."""
    shape: tuple[int, ...]


def tensor_shapes(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model directory; raises as `tensor_places` does."""
    return {name: place.shape for name, place in tensor_places(path).items()}


def tensor_places(path: Path | str) -> dict[str, TensorPlace]:
    """Return where every tensor of a model directory lies.

    Raises WeightsError (a ValueError) or OSError where weights are missing, cut short or crafted.
    """
    directory = Path(path)
    places: dict[str, TensorPlace] = {}
    left_bytes = HEADER_LIMIT_BYTES
    index = _index_read(directory)
    for name in [SINGLE_NAME] if index is None else sorted(set(index.values())):
        header_bytes, own = _header_read(directory / name, left_bytes, _TENSORS_MAX - len(places))
        left_bytes -= header_bytes
        if twice := places.keys() & own.keys():
            raise WeightsError(name, f"holds {min(twice)}, which another file holds too")
        places.update(own)
    for tensor, name in (index or {}).items():
        if tensor not in places or places[tensor].file.name != name:
            raise WeightsError(INDEX_NAME, f"says that {tensor[:80]} is in {name}: it is not")
    if not places:
        raise WeightsError(SINGLE_NAME if index is None else INDEX_NAME, "holds no tensors")
    return places


def parameter_count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many numbers tensors of these shapes hold."""
    return sum(math.prod(shape) for shape in shapes.values())


def header_length(start: bytes, file_bytes: int) -> int | None:
    """Return the length of a header from a file's first bytes; None where it cannot be one."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    most = min(HEADER_LIMIT_BYTES, file_bytes - LENGTH_BYTES)
    return length if len(start) >= LENGTH_BYTES and 0 < length <= most else None


def _index_read(directory: Path) -> dict[str, str] | None:
    """The file of each tensor; None where all are in one."""
    path = directory / INDEX_NAME
    if not path.exists():
        if not (directory / SINGLE_NAME).is_file():
            raise WeightsError(SINGLE_NAME, "is missing: there are no safetensors weights")
        return None
    try:
        index = json_file_read(path, limit_bytes=INDEX_LIMIT_BYTES)
    except ValueError as error:
        raise WeightsError(INDEX_NAME, str(error)) from None
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise WeightsError(INDEX_NAME, "has no weight_map, an object of tensors and their files")
    for tensor, name in files.items():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(SUFFIX):
            what = repr(name)[:80]
            raise WeightsError(INDEX_NAME, f"names {what} for {tensor[:80]}: not a file beside it")
        if not (directory / name).is_file():
            raise WeightsError(name[:80], "is named by the index but missing")
    if len(set(files.values())) > FILES_MAX:
        raise WeightsError(INDEX_NAME, f"names more than {FILES_MAX} files")
    return files


def header_read(path: Path) -> dict[str, TensorPlace]:
    """Return where the tensors of one safetensors file lie; raises as `tensor_places` does."""
    return _header_read(path, HEADER_LIMIT_BYTES, _TENSORS_MAX)[1]


def _header_read(
    path: Path, limit_bytes: int, tensors_max: int
) -> tuple[int, dict[str, TensorPlace]]:
    """Return the length of a file's header and its tensors."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = header_length(file.read(LENGTH_BYTES), size_bytes)
        if length is None:
            message = (
                f"is not a safetensors file with a header of up to {HEADER_LIMIT_BYTES:,} bytes"
            )
            raise WeightsError(path.name, message)
        if length > limit_bytes:
            raise WeightsError(path.name, "has too long a header, with those of the files before")
        try:
            header = json_decode(file.read(length))
        except ValueError as error:
            raise WeightsError(path.name, f"has no readable header: it {error}") from None
    if not isinstance(header, dict):
        raise WeightsError(path.name, "has no readable header: it is not a JSON object")
    if len(header) > tensors_max:
        raise WeightsError(path.name, f"brings the model to more than {_TENSORS_MAX:,} tensors")
    _metadata_check(path.name, header.pop("__metadata__", {}))
    start_bytes = LENGTH_BYTES + length
    places = {name: _place(path, start_bytes, name, entry) for name, entry in header.items()}
    _gaps_check(path.name, places, start_bytes, size_bytes)
    return length, places


def _metadata_check(file: str, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(file, "has metadata that is not an object of texts")


def _place(path: Path, start_bytes: int, name: str, entry: Any) -> TensorPlace:
    """One tensor of a header, its fields checked against each other."""
    if not name or len(name) > _NAME_MAX or not name.isprintable():
        raise WeightsError(path.name, f"names a tensor {name[:80]!r}")
    what = name[:80]
    dtype, shape, offsets = _fields(path.name, what, entry)
    bits = _BITS.get(dtype)
    if bits is None:
        raise WeightsError(path.name, f"stores {what} as {dtype[:20]!r}, which is not known")
    if math.prod(shape) > _NUMBERS_MAX:
        raise WeightsError(path.name, f"gives {what} more numbers than fit into any file")
    begin, end = offsets
    if bits * math.prod(shape) != 8 * (end - begin):
        raise WeightsError(path.name, f"gives {what} {end - begin:,} bytes, which is not its shape")
    return TensorPlace(
        file=path,
        offset_bytes=start_bytes + begin,
        size_bytes=end - begin,
        dtype=dtype,
        shape=shape,
    )


def _fields(file: str, what: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict):
        raise WeightsError(file, f"does not say what {what} is")
    dtype, shape, offsets = (entry.get(name) for name in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str):
        raise WeightsError(file, f"gives {what} no dtype")
    if not isinstance(shape, list) or len(shape) > _AXES_MAX or not all(map(_is_size, shape)):
        raise WeightsError(file, f"gives {what} a shape that is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise WeightsError(file, f"gives {what} offsets that are not two whole numbers")
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _NUMBERS_MAX


def _gaps_check(
    file: str, places: Mapping[str, TensorPlace], start_bytes: int, size_bytes: int
) -> None:
    """Tensors must follow each other without overlap or hole, to the file's last byte."""
    end = start_bytes
    for name, place in sorted(places.items(), key=lambda item: _span(item[1])):
        if place.offset_bytes != end:
            what = "overlaps another tensor" if place.offset_bytes < end else "follows on a hole"
            raise WeightsError(file, f"is crafted or broken: {name[:80]} {what}")
        end += place.size_bytes
    if end != size_bytes:
        what = "is cut short" if end > size_bytes else "has bytes to spare"
        raise WeightsError(file, f"{what}: its tensors end at byte {end:,} of {size_bytes:,}")


def _span(place: TensorPlace) -> tuple[int, int]:
    return place.offset_bytes, place.size_bytes
