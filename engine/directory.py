"""What engines write beside the weights: JSON files, and what a checkpoint takes along."""

import json
import shutil
from pathlib import Path
from typing import Any

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
)
"""Copied from the model that was trained: its tokens and its form of conversations."""
_BESIDE_FILES = (
    *TOKENIZER_FILES,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "NOTICE",
)
"""What a model of this kind has beside its weights and its config.json."""


def files_beside(name: str) -> bool:
    """Whether a file of this name belongs to a model beside its weights and its config.json."""
    return name in _BESIDE_FILES


def files_beside_copy(source: Path, target: Path) -> None:
    """Copy what a checkpoint takes along from the model that it was made of."""
    for name in _BESIDE_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def json_write(path: Path, value: Any, *, allow_nan: bool = False) -> None:
    """Write a JSON file that people can read; ValueError for NaN and infinity.

    `allow_nan` writes them as Python and transformers read them: for files that are not ours.
    """
    text = json.dumps(value, indent=2, allow_nan=allow_nan)
    path.write_text(text + "\n", encoding="utf-8")
