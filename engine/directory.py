"""What engines write beside the weights: JSON files, and what a checkpoint takes along."""

import json
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
    "LICENSE",
)
"""Copied from the model that was trained: its tokens and its form of conversations."""


def json_write(path: Path, value: Any, *, allow_nan: bool = False) -> None:
    """Write a JSON file that people can read; ValueError for NaN and infinity.

    `allow_nan` writes them as Python and transformers read them: for files that are not ours.
    """
    text = json.dumps(value, indent=2, allow_nan=allow_nan)
    path.write_text(text + "\n", encoding="utf-8")
