"""Turns the benchmarks of a config into lm-eval tasks, before anything is measured.

Local benchmarks and one's own become tasks whose name holds a hash of their content, as lm-eval's
own caches know a task by nothing but its name. The rest is in `evaluation.catalogue`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from evaluation.answers import answers_check
from evaluation.catalogue import standard_prepare
from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.prepared import BenchmarkTasks, refused
from evaluation.suites import local_benchmarks, local_items
from evaluation.suites.items import content_hash

TOKENS_AN_ITEM = 160
"""A first guess of an item's cost, for the time left: four choices of forty tokens."""


def benchmarks_prepare(config: MeasureConfig, scratch: Path) -> list[BenchmarkTasks]:
    """Load every benchmark's items. Raises EngineError (BAD_INPUT) naming what cannot be had, or
    the item that has no answer."""
    prepared = [_prepare(benchmark, config, scratch) for benchmark in config.benchmarks]
    for one in prepared:
        for task in one.tasks.values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=config.seed)
        answers_check(one)
    return prepared


def _prepare(benchmark: BenchmarkConfig, config: MeasureConfig, scratch: Path) -> BenchmarkTasks:
    if benchmark.source == "local":
        return _local(benchmark, scratch)
    if benchmark.source == "own":
        return _own(benchmark, scratch)
    return standard_prepare(benchmark, config)


def _local(benchmark: BenchmarkConfig, scratch: Path) -> BenchmarkTasks:
    known = {one.name: one for one in local_benchmarks()}
    if benchmark.name not in known:
        raise refused(
            benchmark, "is not a local benchmark", f"There are: {', '.join(known)}; or use lm_eval."
        )
    items = local_items(benchmark.name, benchmark.limit)
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    # The spaces between question and choice are part of the choices.
    return _of_lines(benchmark, lines, _CHOICES | {"target_delimiter": ""}, scratch)


def _own(benchmark: BenchmarkConfig, scratch: Path) -> BenchmarkTasks:
    try:
        text = Path(benchmark.path or "").read_text(encoding="utf-8")
    except (OSError, ValueError):
        cure = "Upload the benchmark again."
        raise refused(benchmark, "its items are missing on disk", cure) from None
    if content_hash(text) != benchmark.content_hash:
        cure = "Upload the benchmark again: figures from different items cannot be compared."
        raise refused(benchmark, "its items are not those that were chosen", cure)
    lines = text.rstrip("\n").split("\n")  # `splitlines` cuts at U+2028 and U+0085 too
    # By hash, so that every beginning is a fair sample, the same one for every model.
    lines.sort(key=lambda line: hashlib.sha256(line.encode()).hexdigest())
    chosen = lines[: benchmark.limit]
    in_words = "choices" not in json.loads(chosen[0])
    task = (_WORDS if in_words else _CHOICES) | {"target_delimiter": " "}
    prepared = _of_lines(benchmark, chosen, task, scratch)
    return replace(prepared, cluster_field="cluster")


_CHOICES: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_choice": "choices",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ],
}
"""`acc` counts, as in every earlier measurement; `acc_norm`, by the characters of the choices,
stands beside it, for where they are of very different length."""
_WORDS: dict[str, Any] = {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 64, "do_sample": False},
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "regexes_to_ignore": [r"^\s+", r"\s+$"],
        }
    ],
}
"""An answer in words is the first line of what the model writes, at most 64 tokens of it; white
space around it does not count, everything else does."""


def _of_lines(
    benchmark: BenchmarkConfig, lines: list[str], task: dict[str, Any], scratch: Path
) -> BenchmarkTasks:
    """A task whose documents are these JSON lines, with "question" and "answer" in each."""
    name = f"{benchmark.name}_{content_hash(chr(10).join(lines))[:12]}"
    data = scratch / f"{name}.jsonl"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(data)},
            "cache_dir": str(scratch / "datasets"),
        },
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "metadata": {"version": 1},
        **task,
    }
    tasks = TaskManager(include_defaults=False).load([whole])["tasks"]
    return BenchmarkTasks(
        config=benchmark, tasks=tasks, indices={}, item_count=len(lines), counts="acc"
    )
