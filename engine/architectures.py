"""Which models can be taught, told from a config.json alone. No torch and no transformers here.

A model is used by the class that transformers itself has for it; code that lies in a directory is
never run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engine.modeltypes import CAUSAL, ENCODERS, VERSION

_CURE = (
    "Use a language model that continues text, of a class that transformers has, such as Llama or "
    "Qwen3."
)
_WHOLE_CURE = "Export the whole language model with save_pretrained."
_CODE_KEY = "auto_map"


class Objection(NamedTuple):
    """Why a model cannot be taught, and what to do."""

    message: str
    cure: str


def architecture_objection(config: Mapping[str, Any]) -> Objection | None:
    """Return why a model with this config.json cannot be taught, None where it can."""
    kind, name = config.get("model_type"), _class_name(config)
    if not isinstance(kind, str) or not kind:
        return Objection("names no model_type", _WHOLE_CURE)
    if config.get("quantization_config"):
        return _quantised(config["quantization_config"])
    if kind not in CAUSAL or config.get("is_encoder_decoder") is True:
        named = f"{name}, type {kind[:80]}" if name else f"type {kind[:80]}"
        code = ". Code from a directory is never run" if _CODE_KEY in config else ""
        message = f"transformers {VERSION} has no language model that continues text for {named}"
        return Objection(message + code, _CURE)
    if kind in ENCODERS and config.get("is_decoder") is not True:
        message = f"{name or kind} reads in both directions and does not continue text"
        return Objection(message, _CURE)
    if name and name not in CAUSAL[kind]:
        known = " or ".join(CAUSAL[kind])
        message = f"names the class {name}; what continues text is {known}"
        return Objection(message, _WHOLE_CURE)
    return None


def _class_name(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0])[:80] if isinstance(names, list) and names else ""


def _quantised(settings: Any) -> Objection:
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    message = f"its weights are quantised ({str(method)[:80] if method else 'quantization_config'})"
    return Objection(
        message, "Use the model's version in 16 or 32 bits: a checkpoint stores such weights."
    )


def code_words(directory: Path, config: Mapping[str, Any]) -> str:
    """Return a sentence about code that a directory carries or asks for; "" where there is none."""
    files = sorted(file.relative_to(directory).as_posix() for file in directory.rglob("*.py"))
    if not files and _CODE_KEY not in config:
        return ""
    what = f"Python code ({', '.join(files[:3])}{', …' if len(files) > 3 else ''})"
    carried = f"The directory carries {what}" if files else "Its config.json asks for code"
    known = CAUSAL.get(str(config.get("model_type")), ("",))
    name = _class_name(config) or known[0]
    return f"{carried}, which is never run: the model is used by transformers' own {name}."
