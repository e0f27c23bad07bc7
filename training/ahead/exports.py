"""Whether a checkpoint can be written as GGUF, told before any work, and how large it will be.

A GGUF says what the computation is in names that llama.cpp knows. What has no such name here is
refused: a file that loads and computes something else would be worse than none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.checks import ConfigError

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")
"""Written as GGUF's architecture llama."""
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_DIGITS = {"type": "Digits", "individual_digits": True}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _split(numbers: str) -> dict[str, Any]:
    pattern = {"Regex": _WORDS + numbers + _REST}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


_SPLITTERS: tuple[tuple[list[dict[str, Any]], str], ...] = (
    ([_GPT2], "gpt-2"),
    ([_DIGITS, _GPT2], "smollm"),
    ([_split(r"\p{N}{1,3}"), _BYTES], "llama-bpe"),
    ([_split(r"\p{N}"), _BYTES], "qwen2"),
)
"""How text is split before merging, as tokenizer.json has it, and llama.cpp's name for that."""
_IGNORED = ("trim_offsets",)
"""Fields of a splitter that change no token."""
_BITS = {"Q8_0": 8.5, "Q4_K_M": 4.9}
_EMBEDDING_BITS = {"Q8_0": 8.5, "Q4_K_M": 6.6}


def export_check(directory: Path) -> None:
    """Raise ConfigError, naming what stands in the way, where no GGUF can be written."""
    config = _json(directory / "config.json")
    _architecture_check(config)
    splitter_name(_json(directory / "tokenizer.json"))


def export_problem(directory: Path) -> str:
    """Why no GGUF can be written of a checkpoint, in a sentence; empty where one can."""
    try:
        export_check(directory)
    except ConfigError as error:
        return str(error)
    return ""


def _architecture_check(config: Mapping[str, Any]) -> None:
    name = next(iter(config.get("architectures") or []), "unknown")
    if name not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        message = f"the architecture {name} is not written as GGUF here"
        raise ConfigError("config.json", message, f"Only {known} are.")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    cure = "Serve the safetensors instead."
    if kind != "default":
        message = f"positions scaled by {kind} are not written as GGUF here"
        raise ConfigError("config.json", message, cure)
    if config.get("hidden_act", "silu") != "silu":
        message = f"the activation {config['hidden_act']} is not a Llama's"
        raise ConfigError("config.json", message, cure)
    if config.get("sliding_window"):
        message = "attention within a sliding window is not written as GGUF here"
        raise ConfigError("config.json", message, cure)


def splitter_name(tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer splits text; ConfigError where it has none here."""
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        message = f"a tokenizer of the kind {model.get('type')} is not written as GGUF here"
        raise ConfigError("tokenizer.json", message, "Only byte-level BPE is.")
    splitter = tokenizer.get("pre_tokenizer") or {}
    steps = splitter.get("pretokenizers", [splitter])
    bare = [{key: value for key, value in one.items() if key not in _IGNORED} for one in steps]
    for known, name in _SPLITTERS:
        if bare == known:
            return name
    message = "it splits text in a way that has no name in GGUF that is known here"
    raise ConfigError("tokenizer.json", message, "Serve the safetensors instead.")


def export_bytes(quantisation: str, parameter_count: int, vocabulary: int, width: int) -> int:
    """About how large the file will be; vocabulary and width are the embedding's two sides."""
    embedding = min(vocabulary * width, parameter_count)
    body_bits = (parameter_count - embedding) * _BITS[quantisation]
    return int((body_bits + embedding * _EMBEDDING_BITS[quantisation]) / 8)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        cure = "Save the model with save_pretrained."
        raise ConfigError(path.name, "is missing or not a JSON object", cure)
    return value
