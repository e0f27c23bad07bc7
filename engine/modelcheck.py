"""What a model directory must be before anything of it is loaded, told from its files alone.

Weights must be safetensors (pickles can run code), the class must be one of transformers' own, and
the tokenizer must be there. No torch here: the portal refuses bad directories before any GPU time.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.architectures import architecture_objection
from engine.checks import ConfigError

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
_HEADER_LIMIT_BYTES = 100 << 20
_INDEX_NAME = "model.safetensors.index.json"
_SINGLE_NAME = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason to refuse a directory: the file, what is wrong, what to do."""

    where: str
    message: str
    cure: str


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """Where a tensor's bytes lie and how to read them."""

    file: Path
    offset_bytes: int
    size_bytes: int
    dtype: str
    """As safetensors calls it: F32, BF16, ..."""
    shape: tuple[int, ...]


def model_directory_problems(path: Path | str) -> list[Problem]:
    """Return every reason why the engine refuses this model directory; empty when it is fine."""
    directory = Path(path)
    if not directory.is_dir():
        return [
            Problem(
                where="model",
                message="the model directory does not exist",
                cure="Choose a checkpoint that is still there.",
            )
        ]
    return [
        *_config_problems(directory),
        *_adapter_problems(directory),
        *_class_problems(directory),
        *_pickle_problems(directory),
        *_weight_problems(directory),
        *_tokenizer_problems(directory),
    ]


def directory_check(where: str, path: str) -> None:
    """Refuse a model directory with problems; ConfigError names the first of them."""
    problems = model_directory_problems(path)
    if problems:
        first = problems[0]
        raise ConfigError(where, f"{first.where} {first.message}", first.cure)


def tensor_shapes(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model directory, from the safetensors headers alone.

    Raises ValueError or OSError, naming the file, where weights are missing or cut short.
    """
    return {name: place.shape for name, place in tensor_places(path).items()}


def tensor_places(path: Path | str) -> dict[str, TensorPlace]:
    """Return where every tensor of a model directory lies; raises as `tensor_shapes` does."""
    directory = Path(path)
    places: dict[str, TensorPlace] = {}
    for name in _weight_files(directory):
        places.update(header_read(directory / name))
    return places


def parameter_count(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return how many numbers tensors of these shapes hold."""
    return sum(math.prod(shape) for shape in shapes.values())


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _config_problems(directory: Path) -> list[Problem]:
    if _json_object(directory / "config.json") is not None:
        return []
    return [
        Problem(
            where="config.json",
            message="is missing or no JSON object",
            cure="Export the model with save_pretrained, which writes config.json.",
        )
    ]


def _adapter_problems(directory: Path) -> list[Problem]:
    """transformers would load an adapter without being asked, over weights that lack it."""
    if not (directory / "adapter_config.json").exists():
        return []
    return [
        Problem(
            where="adapter_config.json",
            message="belongs to an adapter, and a model must hold all of its weights itself",
            cure="Merge the adapter into the model and save that (merge_and_unload in peft).",
        )
    ]


def _class_problems(directory: Path) -> list[Problem]:
    """Code of a directory's own is no reason: it is never run. Not to know the class is one."""
    config = _json_object(directory / "config.json")
    objection = architecture_objection(config) if config is not None else None
    if objection is None:
        return []
    return [Problem(where="config.json", message=objection.message, cure=objection.cure)]


def _pickle_problems(directory: Path) -> list[Problem]:
    return [
        Problem(
            where=file.name,
            message="is a pickle file, which can run code when it is loaded",
            cure="Convert the weights to safetensors and remove the file.",
        )
        for file in sorted(directory.rglob("*"))
        if file.suffix.lower() in _PICKLE_SUFFIXES
    ]


def _tokenizer_problems(directory: Path) -> list[Problem]:
    if _json_object(directory / "tokenizer.json") is not None:
        return []
    return [
        Problem(
            where="tokenizer.json",
            message="is missing or no JSON object",
            cure="Save the model's fast tokenizer into the directory.",
        )
    ]


def _weight_problems(directory: Path) -> list[Problem]:
    try:
        shapes = tensor_shapes(directory)
    except (OSError, ValueError) as error:
        return [
            Problem(
                where="weights",
                message=str(error),
                cure="Save the model's weights as safetensors, all parts in this directory.",
            )
        ]
    if shapes:
        return []
    message, cure = "the safetensors file holds no tensors", "Save the model's weights again."
    return [Problem(where="weights", message=message, cure=cure)]


def _weight_files(directory: Path) -> list[str]:
    index = _json_object(directory / _INDEX_NAME)
    if index is None:
        if not (directory / _SINGLE_NAME).is_file():
            raise ValueError("there are no safetensors weights")
        return [_SINGLE_NAME]
    names = sorted(set(index.get("weight_map", {}).values()))
    for name in names:
        if Path(name).name != name or not (directory / name).is_file():
            raise ValueError(f"{name} is named by the index but missing")
    return names


def header_read(path: Path) -> dict[str, TensorPlace]:
    """Return the tensors of a safetensors file, after a look that no byte is missing."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes <= min(_HEADER_LIMIT_BYTES, size_bytes - 8):
            raise ValueError(f"{path.name} is not a safetensors file")
        try:
            header = json.loads(file.read(header_bytes))
            header.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
            places = {name: _place(path, 8 + header_bytes, e) for name, e in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise ValueError(f"{path.name} has no readable header") from None
    if 8 + header_bytes + end != size_bytes:
        raise ValueError(f"{path.name} is cut short or has bytes to spare")
    return places


def _place(path: Path, data_start_bytes: int, entry: dict[str, Any]) -> TensorPlace:
    start, end = entry["data_offsets"]
    return TensorPlace(
        file=path,
        offset_bytes=data_start_bytes + start,
        size_bytes=end - start,
        dtype=entry["dtype"],
        shape=tuple(entry["shape"]),
    )
