"""A benchmark that is ready to run, and the refusal of one that cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.config import BenchmarkConfig


@dataclass(frozen=True, kw_only=True)
class BenchmarkTasks:
    """One benchmark of the config, ready to run."""

    config: BenchmarkConfig
    tasks: dict[str, Any]
    """lm-eval's task objects by lm-eval's names; several for a group."""
    indices: dict[str, list[int]]
    """Which documents of each task, where a limit asks for a subset; else empty."""
    item_count: int
    cluster_field: str | None = None
    """The field of a document that says which source it shares with others."""
    counts: str = ""
    """The yes/no metric that counts where an item has it; empty: the first of `answers.METRICS`."""
    is_group: bool = False
    """Whether several tasks make up this benchmark."""


def refused(benchmark: BenchmarkConfig, message: str, cure: str) -> EngineError:
    """A benchmark that cannot be measured."""
    return EngineError(BAD_INPUT, f"benchmark {benchmark.name}", message, cure)
