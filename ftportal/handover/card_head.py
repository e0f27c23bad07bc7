"""The YAML at the head of a card, as the Hugging Face hub reads it.

Every value is written as JSON, which YAML takes as it is, so no name can break the head.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.evaluations.selectors import ACCURACY, default_suite, measured_evaluation, score_rows

_HUB_ID = re.compile(r"(?:^|\()([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@[\w.-]+)?(?:\)|$)")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def front_matter(checkpoint: Checkpoint) -> Iterator[str]:
    """The lines between ---, and a blank one after them."""
    yield "---"
    for name, value in _fields(checkpoint).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{name}:"
            yield from (f"- {_json(one)}" for one in value)
        else:
            yield f"{name}: {_json(value)}"
    yield "---"
    yield ""


def hub_id(language_model: LanguageModel) -> str:
    """organisation/name on the hub, where the model's source says so; else empty."""
    match = _HUB_ID.search(language_model.source.strip())
    return match[1] if match else ""


def licence_id(language_model: LanguageModel) -> str:
    """The licence as the hub and GGUF write it; empty where it is not a name of one."""
    licence = language_model.licence.strip().lower()
    return licence if _LICENCE.fullmatch(licence) else ""


def _fields(checkpoint: Checkpoint) -> dict[str, Any]:
    model = checkpoint.language_model
    fields: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if licence := licence_id(model):
        fields["license"] = licence
    if base := hub_id(model):
        fields["base_model"] = base
        fields["base_model_relation"] = "finetune"
    fields["tags"] = ["ftportal"] if checkpoint.is_pretrained else ["ftportal", "fine-tuned"]
    if results := _results(checkpoint):
        fields["model-index"] = [{"name": checkpoint.name, "results": results}]
    return fields


def _results(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    suite = default_suite()
    evaluation = measured_evaluation(checkpoint, suite) if suite else None
    results = []
    for row in score_rows(evaluation) if evaluation else []:
        cell = row.cells[0]
        if cell is None or row.is_total or not math.isfinite(cell.value):
            continue
        kind = "accuracy" if row.kind == ACCURACY else "perplexity"
        results.append(
            {
                "task": {"type": "text-generation"},
                "dataset": {"type": row.name, "name": f"{row.title} ({row.n})"},
                "metrics": [{"type": kind, "value": round(cell.value, 6)}],
            }
        )
    return results


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
