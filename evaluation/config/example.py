"""A complete config of a measurement, to start from."""

from __future__ import annotations

import dataclasses
from typing import Any

from evaluation.config.actions import MeasureConfig
from evaluation.config.items import BenchmarkConfig, HeldOutConfig


def example_config() -> dict[str, Any]:
    """Return it with every field."""
    config = MeasureConfig(
        model="models/tuned",
        parent="models/base",
        benchmarks=(
            BenchmarkConfig(name="local_language", source="local"),
            BenchmarkConfig(name="hellaswag", source="lm_eval", limit=500),
        ),
        held_out=(HeldOutConfig(key="h1", name="Prose", domain="prose", path="held_out.jsonl"),),
    )
    return {"action": "measure", **dataclasses.asdict(config)}
