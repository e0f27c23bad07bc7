"""Measures benchmarks in adaptive mode: in random order, a chunk at a time, until it is certain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm_eval.api.samplers import FirstNSampler
from lm_eval.utils import handle_non_serializable, hash_string

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.benchmarks import answers_measure, share_score
from evaluation.config import AdaptiveConfig, AdaptiveGroup, MeasureConfig
from evaluation.judging.adaptive import Unit, group_test, stop_words, unit_losses, units_in_order
from evaluation.judging.paired import Item
from evaluation.judging.pairing import ComparisonError
from evaluation.judging.sequential import UNDECIDED
from evaluation.likelihoods import CountingModel
from evaluation.prepared import BenchmarkTasks
from evaluation.samples import doc_hash_of

BATCHES_A_CHUNK = 4
"""A chunk is at least so many batches, so that little of a forward pass is padding ..."""
CHUNKS_AT_MOST = 20
"""... and at least a fixed share of what was measured before it, for every chunk costs some
time of its own: at most 5 % more is measured than the answer needed."""

_CURE = "Measure both with the same suite, settings and tokenizer."


@dataclass(frozen=True, kw_only=True)
class Stoppable:
    """A group of benchmarks, ready to be measured until the answer is certain."""

    group: AdaptiveGroup
    units: Sequence[Unit]
    """All of them, in their random order."""
    tasks: Mapping[str, BenchmarkTasks]
    places: Mapping[str, Mapping[str, tuple[str, int]]]
    """Where each item is found: benchmark -> doc_hash -> (lm-eval's task, index)."""

    @property
    def item_count(self) -> int:
        """Items of all its benchmarks."""
        return sum(len(one.before) for one in self.units)


def stoppable_groups(
    config: AdaptiveConfig,
    prepared: Sequence[BenchmarkTasks],
    on_whole: Callable[[str, str], None],
) -> list[Stoppable]:
    """The groups without the benchmarks that have to be measured whole.

    `on_whole` is told their names and why. Raises EngineError (BAD_INPUT) where the answers before
    are not those of the same items.
    """
    before = _before_read(config)
    tasks = {one.config.name: one for one in prepared}
    groups = []
    for group in config.groups:
        reasons = {name: whole_reason(tasks[name], before) for name in group.benchmarks}
        for name, why in reasons.items():
            if why:
                on_whole(name, why)
        names = tuple(name for name, why in reasons.items() if not why)
        if names:
            kept = replace(group, benchmarks=names)
            places = {name: _places(tasks[name], before[name]) for name in names}
            units = units_in_order(before, kept, config.seed)
            groups.append(Stoppable(group=kept, units=units, tasks=tasks, places=places))
    return groups


def group_measure(
    stoppable: Stoppable,
    model: CountingModel,
    config: MeasureConfig,
    on_share: Callable[[float], None],
) -> dict[str, Any]:
    """Measure until it is certain: {"scores", "samples", "stop"}; samples are the items used.

    A chunk is measured as a whole, but items after the one that made it certain are left out: they
    had no part in the answer. Raises EngineError (BAD_INPUT) where an item was asked differently.
    """
    adaptive = config.adaptive
    if adaptive is None:
        raise ValueError("the config names no adaptive mode")
    test, total = group_test(stoppable.units, stoppable.group, adaptive), stoppable.item_count
    used: dict[str, list[dict[str, Any]]] = {name: [] for name in stoppable.group.benchmarks}
    metrics: dict[str, str] = {}
    place = 0
    while place < len(stoppable.units) and test.outcome == UNDECIDED:
        chunk = _chunk(stoppable.units[place:], model.batch_size, test.items_used)
        begin, size = test.items_used, sum(len(one.before) for one in chunk)

        def tell(share: float, begin: int = begin, size: int = size) -> None:
            on_share((begin + share * size) / total)

        rows = _chunk_measure(stoppable, chunk, model, config, metrics, tell)
        for unit in chunk:
            test.add(_losses(unit, rows))
            used[unit.benchmark] += [rows[unit.benchmark][one.doc_hash] for one in unit.before]
            place += 1
            if test.outcome != UNDECIDED:
                break
    outcome = test.finish()
    return {
        "scores": [share_score(name, metrics[name], rows) for name, rows in used.items() if rows],
        "samples": [row for rows in used.values() for row in rows],
        "stop": {
            "benchmarks": list(stoppable.group.benchmarks),
            "margin": stoppable.group.margin,
            "items": total,
            "items_used": test.items_used,
            "outcome": outcome,
            "words": stop_words(outcome, test.items_used, total, stoppable.group.margin),
        },
    }


def _before_read(config: AdaptiveConfig) -> dict[str, list[Item]]:
    cure = "Ask for the measurement again."
    try:
        data = Path(config.before).read_bytes()
    except OSError as error:
        message = "the answers to compare with are missing on disk"
        raise EngineError(BAD_INPUT, "adaptive.before", message, cure) from error
    if hashlib.sha256(data).hexdigest() != config.before_sha256:
        message = "the answers to compare with are not those that were chosen"
        raise EngineError(BAD_INPUT, "adaptive.before", message, cure)
    items: dict[str, list[Item]] = {}
    try:
        for line in data.splitlines():
            record = json.loads(line)
            items.setdefault(record["benchmark"], []).append(Item.from_json(record))
    except (ValueError, KeyError, TypeError) as error:
        message = "a line is not an answer to an item"
        raise EngineError(BAD_INPUT, "adaptive.before", message, cure) from error
    return items


def whole_reason(benchmark: BenchmarkTasks, before: Mapping[str, Sequence[Item]]) -> str:
    """Why a benchmark has to be measured whole; empty where it can be stopped early."""
    if benchmark.config.name not in before:
        return "it has no right or wrong answers to count"
    for task in benchmark.tasks.values():
        drawn = (task.config.num_fewshot or 0) > 0
        if drawn and not isinstance(getattr(task, "sampler", None), FirstNSampler):
            return "its examples are drawn item by item, so the order would change the questions"
    return ""


def _places(benchmark: BenchmarkTasks, before: Sequence[Item]) -> dict[str, tuple[str, int]]:
    """Where lm-eval keeps each item, by the hash that its samples will carry."""
    places: dict[str, tuple[str, int]] = {}
    for name, task in benchmark.tasks.items():
        chosen = set(benchmark.indices.get(name, ())) or None
        for index, doc in enumerate(task.eval_docs):
            if chosen is not None and index not in chosen:
                continue
            text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
            places.setdefault(doc_hash_of(benchmark, name, hash_string(text)), (name, index))
    apart = len(places.keys() ^ {one.doc_hash for one in before})
    if apart:
        message = f"{apart} of its items were measured on one side only"
        raise EngineError(BAD_INPUT, f"benchmark {benchmark.config.name}", message, _CURE)
    return places


def _chunk(units: Sequence[Unit], batch_size: int, used: int) -> list[Unit]:
    """The next units: whole ones, until there are enough items."""
    enough = max(BATCHES_A_CHUNK * batch_size, used // CHUNKS_AT_MOST)
    chunk, size = [], 0
    for unit in units:
        if size >= enough:
            break
        chunk.append(unit)
        size += len(unit.before)
    return chunk


def _chunk_measure(
    stoppable: Stoppable,
    chunk: Sequence[Unit],
    model: CountingModel,
    config: MeasureConfig,
    metrics: dict[str, str],
    on_share: Callable[[float], None],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows by benchmark and doc_hash; `metrics` learns the metric of each benchmark."""
    wanted: dict[str, dict[str, list[int]]] = {}
    for unit in chunk:
        for item in unit.before:
            task, index = stoppable.places[unit.benchmark][item.doc_hash]
            wanted.setdefault(unit.benchmark, {}).setdefault(task, []).append(index)
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for number, (name, indices) in enumerate(wanted.items()):
        whole = stoppable.tasks[name]
        part = replace(
            whole,
            tasks={task: whole.tasks[task] for task in indices},
            indices={task: sorted(chosen) for task, chosen in indices.items()},
        )

        def tell(share: float, number: int = number) -> None:
            on_share((number + share) / len(wanted))

        measured = answers_measure(part, model, config, tell)
        if measured.metric is None:
            message = "it has no right or wrong answers any more"
            raise EngineError(BAD_INPUT, f"benchmark {name}", message, _CURE)
        metrics.setdefault(name, measured.metric)
        rows[name] = {row["doc_hash"]: row for row in measured.rows}
    return rows


def _losses(unit: Unit, rows: Mapping[str, Mapping[str, dict[str, Any]]]) -> list[int]:
    try:
        answers = rows[unit.benchmark]
        hashes = [item.doc_hash for item in unit.before]
        after = {key: Item.from_json(answers[key]) for key in hashes}
        return unit_losses(unit, after)
    except ComparisonError as error:
        where = f"benchmark {unit.benchmark}"
        raise EngineError(BAD_INPUT, where, str(error), _CURE) from error
