"""The output of a run: a plain Hugging Face directory that says how it was made."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpus.conversations import ChatEncoder
from engine.directory import files_beside_copy, json_write
from engine.manifest import Manifest, manifest_write
from training.card import model_card
from training.config import RunConfig
from training.tensors.checking import checkpoint_check
from training.tensors.mapping import TensorMap
from training.tensors.writing import config_write, weights_write

_PACKAGES = ("torch", "transformers", "peft", "apollo-torch", "tokenizers")


def output_write(
    directory: Path,
    *,
    model: Any,
    tensors: TensorMap,
    config: RunConfig,
    encoder: ChatEncoder,
    summary: dict[str, Any],
    changes: dict[str, Any],
) -> Manifest:
    """Write weights, tokenizer, template, model card, recipe and manifest; return the manifest.

    A LoRA adapter is merged into the weights, so every checkpoint is a directory of its own.
    EngineError where transformers would not load it as it loads the parent.
    """
    parent = Path(config.model)
    weights_write(directory, parent, model, tensors)
    config_write(directory, parent, config.dtype)
    _beside_write(parent, directory, encoder)
    checkpoint_check(directory, parent)
    recipe = {
        "recipe": config.to_json(),
        "summary": summary,
        "versions": {name: version(name) for name in _packages(config)},
        "python": platform.python_version(),
    }
    json_write(directory / "recipe.json", recipe)
    json_write(directory / "displacement.json", changes)
    (directory / "README.md").write_text(model_card(config, summary), encoding="utf-8")
    return manifest_write(directory)


def _packages(config: RunConfig) -> tuple[str, ...]:
    return _PACKAGES if config.method.base_bits is None else (*_PACKAGES, "bitsandbytes")


def _beside_write(parent: Path, directory: Path, encoder: ChatEncoder) -> None:
    files_beside_copy(parent, directory)
    if not encoder.has_own_template:
        # Generation must see the conversations in the form in which they were learnt.
        template = encoder.template.source
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
