"""A checkpoint's tensors under GGUF's names, and in the order of rows that llama.cpp expects."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from engine.checks import ConfigError
from engine.tensorfiles import TensorPlace, tensor_places

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, kw_only=True)
class Named:
    """One tensor: what GGUF calls it, and where it lies."""

    name: str
    place: TensorPlace
    heads: int | None
    """Of a query or key: how many heads its rows belong to. None: rows stay as they are."""

    def read(self) -> np.ndarray:
        """Its numbers as float32, in GGUF's order of rows."""
        weights = _float32(self.place)
        return weights if self.heads is None else _rope_pairs(weights, self.heads)


def tensors_named(directory: Path, config: Mapping[str, Any]) -> list[Named]:
    """Every tensor that is written, in a fixed order; ConfigError for one that GGUF cannot name."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    of_keys = config.get("num_key_value_heads") or heads
    tied = config.get("tie_word_embeddings", False)
    found = []
    for source, place in tensor_places(directory).items():
        if tied and source == "lm_head.weight":
            continue  # a copy of the embedding
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None or place.dtype not in _DTYPES:
            message = f"{source} ({place.dtype}) has no place in a GGUF of this architecture"
            raise ConfigError("model", message, "Serve the safetensors instead.")
        turned = {"q_proj": heads, "k_proj": of_keys}
        count = next((n for part, n in turned.items() if f".{part}." in source), None)
        found.append(Named(name=name, place=place, heads=count))
    return sorted(found, key=lambda one: _order(one.name))


def _order(name: str) -> tuple[int, int, str]:
    """The embedding first, then layer by layer, then the end: the order in which they are read."""
    parts = name.split(".")
    if parts[0] == "blk":
        return (1, int(parts[1]), name)
    return (0 if parts[0] == "token_embd" else 2, 0, name)


def _float32(place: TensorPlace) -> np.ndarray:
    if place.size_bytes == 0:
        return np.zeros(place.shape, dtype=np.float32)
    raw = np.memmap(
        place.file,
        dtype=np.dtype(_DTYPES[place.dtype]),
        mode="r",
        offset=place.offset_bytes,
        shape=place.shape,
    )
    if place.dtype == "BF16":  # the upper half of a float32
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(raw, dtype=np.float32)


def _rope_pairs(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key as llama.cpp rotates them.

    transformers turns row i of a head together with row i + half of it, llama.cpp neighbours:
    so the halves are interleaved.
    """
    rows = weights.shape[0] // heads
    halves = weights.reshape(heads, 2, rows // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)
