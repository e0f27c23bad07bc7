"""One export from its recipe to its output directory."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from engine.attempt import Attempt
from engine.directory import TOKENIZER_FILES
from engine.manifest import file_sha256, manifest_write
from engine.modelcheck import directory_check
from training.ahead.exports import export_check
from training.config.export import ExportConfig
from training.export.ggml import quantise, row_bytes
from training.export.metadata import metadata_write
from training.export.mixing import Kind, tensor_kind
from training.export.tensors import Named, tensors_named

_MEGABYTE = 1e6
_PLAIN: dict[Kind, np.dtype[Any]] = {
    Kind.F32: np.dtype(np.float32),
    Kind.F16: np.dtype(np.float16),
}

_BLOCKS: np.dtype[Any] = np.dtype(np.int8)
"""For the writer, which takes the shape of uint8 for one of bytes."""


def export(config: ExportConfig, attempt: Attempt) -> dict[str, Any]:
    """Write attempts/<N>/output and return the done event's summary.

    The directory holds one GGUF, and beside it the checkpoint's config and tokenizer, so that an
    evaluation can read the file with the very tokens that the checkpoint was measured with. The
    same recipe gives the same bytes. Raises ConfigError where the model cannot be written.
    """
    directory = Path(config.model)
    directory_check("model", config.model)
    export_check(directory)
    model = json.loads((directory / "config.json").read_bytes())
    tensors = tensors_named(directory, model)
    kinds = _kinds(tensors, config, model["num_hidden_layers"])
    with attempt.output_directory() as output:
        path = output / gguf_name(config.quantisation)
        _file_write(path, config, attempt, tensors=tensors, kinds=kinds, model=model)
        for name in ("config.json", *TOKENIZER_FILES):
            if (directory / name).is_file():
                shutil.copyfile(directory / name, output / name)
        summary = _summary(path, config, kinds)
        summary["manifest_sha256"] = manifest_write(output)["sha256"]
    attempt.events.done(summary=summary)
    return summary


def gguf_name(quantisation: str) -> str:
    """What the file is called in an export's directory."""
    return f"model-{quantisation}.gguf"


def _kinds(tensors: list[Named], config: ExportConfig, layers: int) -> list[Kind]:
    has_output = any(one.name == "output.weight" for one in tensors)
    return [
        tensor_kind(
            one.name,
            one.place.shape,
            quantisation=config.quantisation,
            layers=layers,
            has_output=has_output,
        )
        for one in tensors
    ]


def _file_write(
    path: Path,
    config: ExportConfig,
    attempt: Attempt,
    *,
    tensors: list[Named],
    kinds: list[Kind],
    model: dict[str, Any],
) -> None:
    """Tensor by tensor: the memory that it takes does not grow with the number of layers."""
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    try:
        metadata_write(writer, config, model, Path(config.model))
        for one, kind in zip(tensors, kinds, strict=True):
            shape = one.place.shape
            size_bytes = _stored_bytes(shape, kind)
            writer.add_tensor_info(
                one.name, shape, _PLAIN.get(kind, _BLOCKS), size_bytes, raw_dtype=kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        total = sum(one.place.size_bytes for one in tensors)
        done, began = 0, time.monotonic()
        for one, kind in zip(tensors, kinds, strict=True):
            attempt.check_stop()
            writer.write_tensor_data(_stored(one.read(), kind))
            done += one.place.size_bytes
            seconds = time.monotonic() - began
            attempt.events.progress(
                done=done / _MEGABYTE,
                total=total / _MEGABYTE,
                unit="MB",
                phase="quantising",
                seconds_left=seconds * (total - done) / done if done else None,
            )
    finally:
        writer.close()


def _stored_bytes(shape: tuple[int, ...], kind: Kind) -> int:
    rows = int(np.prod(shape[:-1], dtype=np.int64))
    return rows * row_bytes(kind, shape[-1])


def _stored(weights: np.ndarray, kind: Kind) -> np.ndarray:
    if kind in _PLAIN:
        return np.ascontiguousarray(weights, dtype=_PLAIN[kind])
    return quantise(weights.reshape(-1, weights.shape[-1]), kind)


def _summary(path: Path, config: ExportConfig, kinds: list[Kind]) -> dict[str, Any]:
    return {
        "quantisation": config.quantisation,
        "file": path.name,
        "file_sha256": file_sha256(path),
        "size_bytes": path.stat().st_size,
        "tensors": {kind.name: count for kind, count in sorted(Counter(kinds).items())},
    }
