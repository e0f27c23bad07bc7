"""Which tensors of two models belong together, and every reason why two models do not.

A blend means something only between a model and what was trained from it: the same architecture,
the same tensors, the same tokenizer. All of that is told from headers and JSON, before any byte of
the weights is read. No torch here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checks import ConfigError
from engine.modelcheck import directory_check
from engine.tensorfiles import TensorPlace, tensor_places

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Formats that can be blended, by the bytes of one number."""
_HARMLESS = {
    "_name_or_path",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
"""Fields of config.json that do not change what the weights mean."""
_HEAD = "lm_head.weight"
_TOKENIZER_PARTS = ("model", "added_tokens", "normalizer", "pre_tokenizer")
_CURE = "Blend a model with one that was trained from it."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One tensor of both models, and how it is stored in the blend."""

    name: str
    parent: TensorPlace
    candidate: TensorPlace
    dtype: str
    """As safetensors calls it: the wider of both, float32 where neither holds the other."""

    @property
    def is_float(self) -> bool:
        """Whether it is blended; what holds no floats must be the same on both sides."""
        return self.dtype in FLOAT_BYTES

    @property
    def count(self) -> int:
        """How many numbers it has."""
        count = 1
        for side in self.candidate.shape:
            count *= side
        return count


def pairs_of(parent: str, candidate: str) -> list[Pair]:
    """The tensors of two model directories in the candidate's order; ConfigError where they
    cannot be blended, naming the file, field or tensor that differs."""
    directory_check("parent", parent)
    directory_check("candidate", candidate)
    _config_check(Path(parent), Path(candidate))
    _tokenizer_check(Path(parent), Path(candidate))
    before, after = tensor_places(parent), tensor_places(candidate)
    names = before.keys() & after.keys()
    if not names:
        raise ConfigError("candidate", "has no tensor of the parent's names", _CURE)
    for places, where, directory in ((before, "parent", parent), (after, "candidate", candidate)):
        for odd in sorted(places.keys() - names):
            _tied_check(odd, places, where, Path(directory), names)
    return [_pair(name, before[name], place) for name, place in after.items() if name in names]


def _pair(name: str, parent: TensorPlace, candidate: TensorPlace) -> Pair:
    if parent.shape != candidate.shape:
        message = f"{name} has the shape {list(candidate.shape)}, the parent's {list(parent.shape)}"
        raise ConfigError("candidate", message, _CURE)
    dtypes = {parent.dtype, candidate.dtype}
    if len(dtypes) == 1:
        dtype = candidate.dtype
    elif dtypes <= FLOAT_BYTES.keys():
        dtype = "F64" if "F64" in dtypes else "F32"
    else:
        message = f"{name} is stored as {candidate.dtype}, the parent's as {parent.dtype}"
        raise ConfigError("candidate", message, _CURE)
    return Pair(name=name, parent=parent, candidate=candidate, dtype=dtype)


def _tied_check(
    odd: str, places: Mapping[str, TensorPlace], where: str, directory: Path, names: set[str]
) -> None:
    """Let an output head that only one side stores pass where it is a copy of the embedding.

    A model that ties the two may be stored with the copy or without it. Only the head: norms that
    were never trained are copies of each other too.
    """
    tied = _json(directory / "config.json").get("tie_word_embeddings", True)
    place = places[odd]
    if tied is not False and odd.endswith(_HEAD):
        for name in names:
            twin = places[name]
            alike = (twin.shape, twin.dtype) == (place.shape, place.dtype)
            if alike and _same_bytes(place, twin):
                return
    other = "candidate" if where == "parent" else "parent"
    raise ConfigError(where, f"has the tensor {odd}, which the {other} lacks", _CURE)


def _same_bytes(one: TensorPlace, other: TensorPlace) -> bool:
    chunk_bytes = 1 << 24
    with one.file.open("rb") as left, other.file.open("rb") as right:
        left.seek(one.offset_bytes)
        right.seek(other.offset_bytes)
        for start in range(0, one.size_bytes, chunk_bytes):
            size = min(chunk_bytes, one.size_bytes - start)
            if left.read(size) != right.read(size):
                return False
    return True


def _config_check(parent: Path, candidate: Path) -> None:
    """Refuse where a field that both configs have means another computation."""
    before, after = _json(parent / "config.json"), _json(candidate / "config.json")
    different = _difference(before, after)
    if different:
        raise ConfigError("candidate", f"config.json: {different} is not the parent's", _CURE)


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The first field of both that differs. One that only one has is a default written out."""
    for name in sorted((before.keys() & after.keys()) - _HARMLESS):
        was, now = before[name], after[name]
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            if inner := _difference(was, now):
                return f"{name}.{inner}"
        elif was != now:
            return name
    return ""


def _tokenizer_check(parent: Path, candidate: Path) -> None:
    before, after = (_json(one / "tokenizer.json") for one in (parent, candidate))
    for part in _TOKENIZER_PARTS:
        if before.get(part) != after.get(part):
            message = f"tokenizer.json: its {part} is not the parent's, so tokens differ in meaning"
            raise ConfigError("candidate", message, _CURE)


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_bytes())
    return value
