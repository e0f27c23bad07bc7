"""One blend from its recipe to its output directory."""

import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.attempt import Attempt
from engine.directory import files_beside_copy, json_write
from engine.manifest import manifest_write
from engine.modelcheck import directory_check
from engine.tensorfiles import TensorPlace, tensor_places
from training.blend.pairing import FLOAT_BYTES, Pair, pairs_of
from training.blend.weights import Distance, entry_of, file_write
from training.config.blend import BlendConfig
from training.tensors.files import index_write
from training.tensors.writing import config_write

_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_SAY_EVERY_SECONDS = 0.5
_MEGABYTE = 1e6


def blend(config: BlendConfig, attempt: Attempt) -> dict[str, Any]:
    """Write attempts/<N>/output as the recipe says and return the done event's summary.

    A complete checkpoint: weights in files like the candidate's, its tokenizer and config, model
    card, recipe, displacement, manifest. The same recipe gives the same bytes. Raises ConfigError
    where the two models cannot be blended, StoppedError on request: there is nothing to save.
    """
    pairs = pairs_of(config.parent, config.candidate)
    parent, anchor = Distance(), _anchor(config, pairs)
    progress = _Progress(attempt, sum(entry_of(pair).size_bytes for pair in pairs))
    with attempt.output_directory() as directory:
        _weights_write(directory, config, pairs, parent, anchor, progress)
        _files_copy(directory, Path(config.candidate), pairs)
        shapes = {pair.name: pair.candidate.shape for pair in pairs}
        displacement = {"parent": parent.to_json(shapes), "pretrained": None}
        if anchor is not None or _is_same(config):
            displacement["pretrained"] = (anchor[0] if anchor else parent).to_json(shapes)
        summary = _summary(config, pairs, displacement)
        json_write(directory / "displacement.json", displacement)
        json_write(directory / "recipe.json", _recipe(config, summary))
        (directory / "README.md").write_text(_card(config, summary), encoding="utf-8")
        manifest = manifest_write(directory)
    summary["manifest_sha256"] = manifest["sha256"]
    attempt.events.done(summary=summary)
    return summary


class _Progress:
    """Says how much is written, and stops between two pieces when that was asked."""

    def __init__(self, attempt: Attempt, total_bytes: int) -> None:
        self._attempt = attempt
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._began = self._said = time.monotonic()
        self._say(0.0)

    def wrote(self, size_bytes: int) -> None:
        """Count one piece; raises StoppedError when SIGTERM has come."""
        self._attempt.check_stop()
        self._done_bytes += size_bytes
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY_SECONDS or self._done_bytes == self._total_bytes:
            self._said = now
            self._say(now - self._began)

    def _say(self, seconds: float) -> None:
        rest_bytes = self._total_bytes - self._done_bytes
        left = seconds * rest_bytes / self._done_bytes if self._done_bytes else None
        self._attempt.events.progress(
            done=self._done_bytes / _MEGABYTE,
            total=self._total_bytes / _MEGABYTE,
            unit="MB",
            phase="blending",
            seconds_left=left,
        )


def _is_same(config: BlendConfig) -> bool:
    """Whether the parent is the anchor, so that one distance is both."""
    anchor = config.anchor_model
    return anchor is not None and Path(anchor).resolve() == Path(config.parent).resolve()


def _anchor(
    config: BlendConfig, pairs: Sequence[Pair]
) -> tuple[Distance, dict[str, TensorPlace]] | None:
    if config.anchor_model is None or _is_same(config):
        return None
    directory_check("anchor_model", config.anchor_model)
    shapes = {pair.name: pair.candidate.shape for pair in pairs}
    places = {
        name: place
        for name, place in tensor_places(config.anchor_model).items()
        if place.shape == shapes.get(name) and place.dtype in FLOAT_BYTES
    }
    return Distance(), places


def _weights_write(
    directory: Path,
    config: BlendConfig,
    pairs: Sequence[Pair],
    parent: Distance,
    anchor: tuple[Distance, dict[str, TensorPlace]] | None,
    progress: _Progress,
) -> None:
    """Write the candidate's files again, and their index where there are several."""
    files: dict[str, list[Pair]] = {}
    for pair in pairs:
        files.setdefault(pair.candidate.file.name, []).append(pair)
    for name, members in files.items():
        file_write(
            directory / name,
            members,
            config.alpha,
            parent=parent,
            anchor=anchor,
            wrote=progress.wrote,
        )
    index_write(directory, {name: list(map(entry_of, members)) for name, members in files.items()})


def _files_copy(directory: Path, candidate: Path, pairs: Sequence[Pair]) -> None:
    files_beside_copy(candidate, directory)
    config_write(directory, candidate, _dtype_name(pairs))


def _dtype_name(pairs: Sequence[Pair]) -> str:
    """The format that holds every number of the blend, as config.json calls it."""
    dtypes = {pair.dtype for pair in pairs if pair.is_float}
    widest = max(dtypes, key=lambda dtype: FLOAT_BYTES[dtype], default="F32")
    return "float32" if {"F16", "BF16"} == dtypes else _DTYPE_NAMES[widest]


def _summary(
    config: BlendConfig, pairs: Sequence[Pair], displacement: dict[str, Any]
) -> dict[str, Any]:
    pretrained = displacement["pretrained"] or {"norm": None, "relative": None}
    return {
        "alpha": config.alpha,
        "tensors": len(pairs),
        "parameters": sum(pair.count for pair in pairs),
        "displacement": displacement["parent"]["norm"],
        "displacement_relative": displacement["parent"]["relative"],
        "displacement_pretrained": pretrained["norm"],
        "displacement_pretrained_relative": pretrained["relative"],
    }


def _recipe(config: BlendConfig, summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "blend": config.to_json(),
        "summary": summary,
        "versions": {"torch": version("torch")},
        "python": platform.python_version(),
    }


def _card(config: BlendConfig, summary: dict[str, Any]) -> str:
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [ftportal, merge]
---

# Blend of {Path(config.parent).name} and {Path(config.candidate).name}

Made by ftportal: every weight is (1 − {config.alpha:g}) × the parent's + {config.alpha:g} × the
candidate's, computed in float32 and stored in the wider of their formats. Nothing was trained.

| | |
|---|---|
| alpha | {config.alpha:g} |
| tensors | {summary["tensors"]} |
| displacement from the parent | {summary["displacement"]:.4g} |

The recipe stands in recipe.json, the displacement of every tensor in displacement.json, and the
SHA-256 of every file in manifest.json.
"""
