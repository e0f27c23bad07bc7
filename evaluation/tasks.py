"""Turns the benchmarks of a config into lm-eval tasks, before anything is measured.

Local benchmarks become tasks whose name holds a hash of their content, as lm-eval's own caches know
a task by nothing but its name. Standard tasks come from lm-eval's catalogue; their data from the
hub, or from this machine's cache of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.suites import local_benchmarks, local_items
from training.engine import EngineError
from training.process import BAD_INPUT

TOKENS_AN_ITEM = 160
"""A first guess of an item's cost, for the time left: four choices of forty tokens."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkTasks:
    """One benchmark of the config, ready to run."""

    config: BenchmarkConfig
    tasks: dict[str, Any]
    """lm-eval's task objects by lm-eval's names; several for a group."""
    indices: dict[str, list[int]]
    """Which documents of each task, where a limit asks for a subset; else empty."""
    item_count: int

    @property
    def is_group(self) -> bool:
        """Whether several tasks make up this benchmark."""
        return len(self.tasks) > 1


def benchmarks_prepare(config: MeasureConfig, scratch: Path) -> list[BenchmarkTasks]:
    """Load every benchmark's items. Raises EngineError (BAD_INPUT) naming what cannot be had."""
    prepared = []
    for benchmark in config.benchmarks:
        if benchmark.source == "local":
            prepared.append(_local(benchmark, scratch))
            continue
        prepared.append(_standard(benchmark, config))
    for one in prepared:
        for task in one.tasks.values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=config.seed)
    return prepared


def _local(benchmark: BenchmarkConfig, scratch: Path) -> BenchmarkTasks:
    known = {one.name: one for one in local_benchmarks()}
    if benchmark.name not in known:
        raise _refused(
            benchmark, "is no local benchmark", f"There are: {', '.join(known)}; or use lm_eval."
        )
    items = local_items(benchmark.name, benchmark.limit)
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    content_hash = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    name = f"{benchmark.name}_{content_hash[:12]}"
    data = scratch / f"{name}.jsonl"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The spaces between question and choice are part of the choices.
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(data)},
            "cache_dir": str(scratch / "datasets"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
    tasks = TaskManager(include_defaults=False).load([task])["tasks"]
    return BenchmarkTasks(config=benchmark, tasks=tasks, indices={}, item_count=len(items))


@cache
def _catalogue() -> TaskManager:
    """All of lm-eval's tasks; reading them takes seconds, so once and only when asked for."""
    return TaskManager()


def _standard(benchmark: BenchmarkConfig, config: MeasureConfig) -> BenchmarkTasks:
    catalogue = _catalogue()
    entry = catalogue.task_index.get(benchmark.name)
    if entry is None:
        raise _refused(
            benchmark, "is unknown to lm-eval", "Look its name up with lm-eval ls tasks."
        )
    runs_code = entry.yaml_path is not None and bool(
        load_yaml(entry.yaml_path, resolve_func=False).get("unsafe_code")
    )
    if runs_code and not config.allow_code_execution:
        raise _code_refused(benchmark)
    try:
        tasks = catalogue.load([benchmark.name])["tasks"]
        sizes = {name: len(task.eval_docs) for name, task in tasks.items()}
    except Exception as error:  # whatever lm-eval, datasets or the network raise
        cure = "Put its data into this machine's datasets cache, or allow the hub in the config."
        first_line = (str(error).splitlines() or [""])[0]
        message = f"its data cannot be had: {type(error).__name__}: {first_line}"
        raise _refused(benchmark, message, cure) from error
    runs_code = any(getattr(task, "UNSAFE_CODE", False) for task in tasks.values())
    if runs_code and not config.allow_code_execution:
        raise _code_refused(benchmark)
    if not any(sizes.values()):
        raise _refused(benchmark, "has no items", "Choose another benchmark.")
    indices = _subset(sizes, benchmark.limit)
    if indices:
        tasks = {name: task for name, task in tasks.items() if indices.get(name)}
    count = sum(len(chosen) for chosen in indices.values()) or sum(sizes.values())
    return BenchmarkTasks(config=benchmark, tasks=tasks, indices=indices, item_count=count)


def _subset(sizes: dict[str, int], limit: int | None) -> dict[str, list[int]]:
    """The first `limit` items in an order of hashes, taken from each task in turn."""
    if limit is None or limit >= sum(sizes.values()):
        return {}
    orders = {
        name: sorted(
            range(size),
            key=lambda i: hashlib.sha256(f"{name}:{i}".encode()).digest(),
        )
        for name, size in sizes.items()
    }
    turns = [
        (place, name, index)
        for name, order in sorted(orders.items())
        for place, index in enumerate(order)
    ]
    chosen: dict[str, list[int]] = {}
    for _, name, index in sorted(turns)[:limit]:
        chosen.setdefault(name, []).append(index)
    return {name: sorted(indices) for name, indices in chosen.items()}


def _refused(benchmark: BenchmarkConfig, message: str, cure: str) -> EngineError:
    return EngineError(BAD_INPUT, f"benchmark {benchmark.name}", message, cure)


def _code_refused(benchmark: BenchmarkConfig) -> EngineError:
    message = "runs code that the model wrote, which is switched off"
    cure = "Leave it out, or let an administrator set allow_code_execution."
    return _refused(benchmark, message, cure)
