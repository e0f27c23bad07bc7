"""A checkpoint's weights, in the form of the parent's files: the same names, the same division.

What was not taught is copied bit for bit. Trained weights are stored in the format that they were
trained in, which config.json then names.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.directory import json_write
from engine.tensorfiles import TensorPlace, tensor_places
from training.tensors.files import (
    DTYPES,
    Entry,
    entry,
    header,
    in_file_order,
    index_write,
    place_bytes,
    tensor_bytes,
)
from training.tensors.mapping import Group, TensorMap
from training.tensors.weights import StoredWeights

_CODE = "auto_map"


def weights_write(
    directory: Path | None, parent: Path, model: nn.Module, tensors: TensorMap
) -> None:
    """Write a model's weights to `directory` as those of `parent` are divided into files.

    Where processes share the model, all must call, for what is written is gathered tensor by
    tensor; those that are given no directory write nothing.
    """
    taught = _Taught(StoredWeights(model, tensors), tensors)
    files: dict[str, dict[str, TensorPlace]] = {}
    for name, place in tensor_places(parent).items():
        files.setdefault(place.file.name, {})[name] = place
    written = {}
    for file_name, places in files.items():
        entries = [taught.entry(name) or _as_it_is(name, place) for name, place in places.items()]
        ordered = written[file_name] = in_file_order(entries)
        if directory is None:
            for one in ordered:
                taught.gather(one.name)
            continue
        with (directory / file_name).open("wb") as out:
            out.write(header(ordered))
            for one in ordered:
                for piece in taught.pieces(one.name) or place_bytes(places[one.name]):
                    out.write(piece)
    if directory is not None:
        index_write(directory, written)


def _as_it_is(name: str, place: TensorPlace) -> Entry:
    dtype = DTYPES.get(place.dtype)
    return Entry(
        name=name,
        dtype=place.dtype,
        shape=place.shape,
        size_bytes=place.size_bytes,
        number_bytes=dtype.itemsize if dtype else 1,
    )


class _Taught:
    """The tensors that come from the model, converted a group at a time."""

    def __init__(self, weights: StoredWeights, tensors: TensorMap) -> None:
        self._weights = weights
        self._groups = {name: group for group in tensors.groups for name in group.files}
        self._entries: dict[str, Entry] = {}
        for group in tensors.groups:
            for name, empty in weights.stored(group, empty=True).items():
                self._entries[name] = entry(name, empty)
        self._made: tuple[Group, dict[str, torch.Tensor]] | None = None

    def entry(self, name: str) -> Entry | None:
        """Return what is written under this name; None for what is not taught."""
        return self._entries.get(name)

    def pieces(self, name: str) -> Iterator[bytes] | None:
        """Return the bytes of a tensor; None for what is not taught."""
        made = self.gather(name)
        return None if made is None else tensor_bytes(made[name])

    def gather(self, name: str) -> Mapping[str, torch.Tensor] | None:
        """Return the tensors of a tensor's group; None for what is not taught."""
        group = self._groups.get(name)
        if group is None:
            return None
        if self._made is None or self._made[0] is not group:
            self._made = None  # before the next one is made
            self._made = group, self._weights.stored(group)
        return self._made[1]


def config_write(directory: Path, parent: Path, dtype: str) -> None:
    """Write the parent's config.json with the format of the trained weights, such as float32.

    Else transformers would round them to the one that the parent was stored in. What would load
    code from files that a checkpoint does not have is left out.
    """
    settings: dict[str, Any] = json.loads((parent / "config.json").read_bytes())
    settings.pop(_CODE, None)
    for values in (settings, settings.get("text_config")):
        if isinstance(values, dict):
            _dtype_name(values, dtype, always=values is settings)
    json_write(directory / "config.json", settings, allow_nan=True)  # as the parent's is


def _dtype_name(values: dict[str, Any], dtype: str, *, always: bool) -> None:
    names = [name for name in ("dtype", "torch_dtype") if name in values]
    for name in names or (["dtype"] if always else []):
        values[name] = dtype
