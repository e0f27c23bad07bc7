"""What one measurement's page shows beside scores: what was pinned, distance to the parent."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.config import AUTO
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors import (
    benchmark_titles,
    divergence_missing,
    divergence_rows,
    measured_evaluation,
)
from ftportal.evaluations.selectors.pinned import LEFT_OPEN


def divergence_context(checkpoint: Checkpoint, suite: Suite) -> dict[str, Any]:
    """What the card on forward KL to the parent needs; nothing for the anchor."""
    evaluation = measured_evaluation(checkpoint, suite)
    if checkpoint.parent is None or evaluation is None:
        return {}
    rows = divergence_rows(evaluation)
    missing = "" if rows else divergence_missing(checkpoint)
    return {"divergence": rows, "divergence_missing": missing, "has_parent": True}


_SETTING_WORDS = {
    "dtype": "Number format",
    "device": "Device",
    "weights_on": "Weights on",
    "batch_size": "Sequences a pass",
    "batch_size_why": "Why so many",
    "window_tokens": "Window, tokens",
    "stride_tokens": "Stride, tokens",
    "max_documents": "Documents of each held-out set",
    "max_document_tokens": "Tokens of each document, at most",
    "seed": "Seed",
    "attention": "Attention",
    "products": "Matrix products by",
    "kl_tokens": "Tokens compared with the parent, at most",
    "divergence tokens": "Tokens compared with the parent",
    "divergence memory_bytes": "Memory for the parent's probabilities, bytes",
    "chat_template": "Benchmarks asked through a chat template",
    "chat_template_sha256": "Chat template, SHA-256",
    "tokenizer_sha256": "Tokenizer, SHA-256",
}


def settings_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What was pinned, in words: what the engine said it used, and the suite's own settings."""
    used = {name: value for name, value in evaluation.settings.items() if name != "adaptive"}
    asked = evaluation.suite.settings
    merged = _flat(asked | used)
    for name in LEFT_OPEN:
        if asked.get(name) == AUTO and name in used:
            merged[name] += " (the suite leaves it open)"
    return [(_SETTING_WORDS.get(name, _words(name)), value) for name, value in merged.items()]


def stop_lines(evaluation: Evaluation) -> list[str]:
    """Where a measurement was stopped early, a line a group; none where all was measured."""
    titles = benchmark_titles()
    return [
        f"{_group_title(one['benchmarks'], titles)}: {one['words']}." for one in evaluation.stops
    ]


def _group_title(names: Sequence[str], titles: Mapping[str, str]) -> str:
    return titles.get(names[0], names[0]) if len(names) == 1 else "All benchmarks together"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    rows: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name} ")
        elif value is None and name == "divergence":
            rows["Compared with the parent"] = "no"
        else:
            rows[prefix + name] = "all" if value is None else str(value)
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
