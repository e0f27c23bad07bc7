"""The output of a run: a plain Hugging Face directory that says how it was made."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpus.conversations import ChatEncoder
from engine.directory import TOKENIZER_FILES, json_write
from engine.manifest import Manifest, manifest_write
from training.card import model_card
from training.config import RunConfig

_PACKAGES = ("torch", "transformers", "peft", "apollo-torch", "tokenizers")


def output_write(
    directory: Path,
    *,
    model: Any,
    config: RunConfig,
    encoder: ChatEncoder,
    summary: dict[str, Any],
    changes: dict[str, Any],
) -> Manifest:
    """Write weights, tokenizer, template, model card, recipe and manifest; return the manifest.

    A LoRA adapter is merged into the model first, so every checkpoint is a directory of its own.
    """
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.save_pretrained(directory)
    _tokenizer_copy(Path(config.model), directory, encoder)
    recipe = {
        "recipe": config.to_json(),
        "summary": summary,
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
    }
    json_write(directory / "recipe.json", recipe)
    json_write(directory / "displacement.json", changes)
    (directory / "README.md").write_text(model_card(config, summary), encoding="utf-8")
    return manifest_write(directory)


def _tokenizer_copy(parent: Path, directory: Path, encoder: ChatEncoder) -> None:
    for name in TOKENIZER_FILES:
        if (parent / name).is_file():
            shutil.copyfile(parent / name, directory / name)
    if not encoder.has_own_template:
        # Generation must see the conversations in the form in which they were learnt.
        template = encoder.template.source
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
