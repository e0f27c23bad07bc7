"""lm-eval's own catalogue: any task or group by name, where its data can be had.

Data come from a folder of copies of hub data sets, from this machine's datasets cache, or from the
hub where that is allowed. Tasks that run code which the model wrote are refused unless an
administrator has allowed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from engine.attempt import EngineError
from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.prepared import BenchmarkTasks, refused


@cache
def _catalogue() -> TaskManager:
    """All of lm-eval's tasks; reading them takes seconds, so once and only when asked for."""
    return TaskManager()


def standard_prepare(benchmark: BenchmarkConfig, config: MeasureConfig) -> BenchmarkTasks:
    """Load a task or group of the catalogue. Raises EngineError (BAD_INPUT) where it cannot be."""
    catalogue = _catalogue()
    entry = catalogue.task_index.get(benchmark.name)
    if entry is None:
        raise refused(
            benchmark, "is unknown to lm-eval", "Look its name up with: lm_eval ls tasks."
        )
    runs_code = entry.yaml_path is not None and bool(
        load_yaml(entry.yaml_path, resolve_func=False).get("unsafe_code")
    )
    if runs_code and not config.allow_code_execution:
        raise _code_refused(benchmark)
    try:
        with _local_copies(config.datasets_folder):
            tasks = catalogue.load([benchmark.name])["tasks"]
        sizes = {name: len(task.eval_docs) for name, task in tasks.items()}
    except ModuleNotFoundError as error:
        message = f"it needs the Python package {error.name}, which is not installed"
        cure = f"Install {error.name} where evaluations run."
        raise refused(benchmark, message, cure) from error
    except Exception as error:  # whatever lm-eval, datasets or the network raise
        first_line = (str(error).splitlines() or [""])[0]
        message = f"its data cannot be had: {type(error).__name__}: {first_line}"
        raise refused(benchmark, message, _where_data_may_be(config)) from error
    runs_code = any(getattr(task, "UNSAFE_CODE", False) for task in tasks.values())
    if runs_code and not config.allow_code_execution:
        raise _code_refused(benchmark)
    if not any(sizes.values()):
        raise refused(benchmark, "has no items", "Choose another benchmark.")
    indices = _subset(sizes, benchmark.limit)
    if indices:
        tasks = {name: task for name, task in tasks.items() if indices.get(name)}
    count = sum(len(chosen) for chosen in indices.values()) or sum(sizes.values())
    return BenchmarkTasks(
        config=benchmark,
        tasks=tasks,
        indices=indices,
        item_count=count,
        is_group=len(tasks) > 1,
    )


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


@contextmanager
def _local_copies(folder: str | None) -> Iterator[None]:
    """Let lm-eval find `owner/name` at `folder/owner/name` where that is a directory.

    Tasks name their data by hub id alone, in YAML that groups include and classes that override;
    the one place that all of them come through is `datasets.load_dataset`.
    """
    original = datasets.load_dataset

    def load(path: str, *args: Any, **kwargs: Any) -> Any:
        copy = Path(folder or "") / path
        return original(str(copy) if copy.is_dir() else path, *args, **kwargs)

    if folder is not None:
        datasets.load_dataset = load
    try:
        yield
    finally:
        datasets.load_dataset = original


def _where_data_may_be(config: MeasureConfig) -> str:
    places = ["this machine's datasets cache"]
    if config.datasets_folder is not None:
        places.insert(0, f"{config.datasets_folder}, as <owner>/<name>")
    allow = "" if config.hub else ", or allow the hub"
    return f"Put its data into {' or into '.join(places)}{allow}."


def _code_refused(benchmark: BenchmarkConfig) -> EngineError:
    message = "runs code that the model wrote, which is switched off"
    cure = "Leave it out, or let an administrator allow it in the suite."
    return refused(benchmark, message, cure)
