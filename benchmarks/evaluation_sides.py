"""The two sides of `make bench-eval`: our engine and the `lm_eval` command line, a process each.

Both read the same items from the same task definitions: ours are lm-eval tasks already, so the
command line gets them as YAML beside its data (`--include_path`).
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.children import Child, child_run
from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.suites import local_benchmarks

BATCH_SIZE, SEED = 8, 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One item as one side saw it."""

    correct: int
    margin_nats: float
    """Log-likelihood of the right choice less that of the best wrong one."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one side says of one model."""

    scores: dict[str, float]
    """Accuracy by benchmark."""
    items: dict[tuple[str, str], Outcome]
    """By benchmark and the hash of the item."""
    child: Child


def benchmarks_of(limit: int | None) -> tuple[BenchmarkConfig, ...]:
    """The local suite, the first `limit` items of each benchmark or all of them."""
    return tuple(
        BenchmarkConfig(name=one.name, source="local", limit=limit) for one in local_benchmarks()
    )


def tasks_write(directory: Path, limit: int | None) -> dict[str, str]:
    """Write the engine's own tasks where the command line finds them; returns {theirs: ours}."""
    from evaluation.tasks import benchmarks_prepare

    directory.mkdir(parents=True)
    config = MeasureConfig(model="none", benchmarks=benchmarks_of(limit), seed=SEED)
    names = {}
    for prepared in benchmarks_prepare(config, directory):
        for name, task in prepared.tasks.items():
            # The definition as lm-eval itself holds it, every default included.
            text = yaml.safe_dump(task.dump_config(), allow_unicode=True)
            (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
            names[name] = prepared.config.name
    return names


def ours(directory: Path, model: Path, limit: int | None, threads: int) -> Answers:
    """Measure with `python -m evaluation`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = {
        "action": "measure",
        "model": str(model),
        "benchmarks": [
            {"name": one.name, "source": one.source, "limit": one.limit}
            for one in benchmarks_of(limit)
        ],
        "batch_size": BATCH_SIZE,
        "seed": SEED,
        "dtype": "float32",
        "device": "cpu",
        "threads": threads,
    }
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    child = child_run(
        ["-m", "evaluation", str(directory)], directory / "log", _threads_environment(threads)
    )
    output = directory / "attempts/0/output"
    decoded = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (output / "samples.jsonl").open(encoding="utf-8")]
    return Answers(
        scores={one["benchmark"]: one["value"] for one in decoded["scores"]},
        items={
            (row["benchmark"], row["doc_hash"]): Outcome(
                correct=row["correct"], margin_nats=row["margin_nats"]
            )
            for row in rows
        },
        child=child,
    )


def theirs(
    directory: Path, model: Path, tasks: Path, names: dict[str, str], threads: int
) -> Answers:
    """Measure with the `lm_eval` command line; it may keep its cache of the data sets."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    arguments = ["-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--log_samples"]
    arguments += ["--model_args", f"pretrained={model},dtype=float32,attn_implementation=sdpa"]
    arguments += ["--include_path", str(tasks), "--tasks", ",".join(names)]
    arguments += ["--batch_size", str(BATCH_SIZE), "--seed", str(SEED)]
    arguments += ["--output_path", str(directory / "output")]
    environment = _threads_environment(threads) | {"HF_DATASETS_OFFLINE": "1"}
    child = child_run(arguments, directory / "log", environment)
    (results,) = (directory / "output").rglob("results_*.json")
    decoded = json.loads(results.read_text(encoding="utf-8"))["results"]
    items = {}
    for task, name in names.items():
        (samples,) = results.parent.glob(f"samples_{task}_*.jsonl")
        for line in samples.open(encoding="utf-8"):
            sample = json.loads(line)
            items[name, sample["doc_hash"]] = _outcome(sample)
    return Answers(
        scores={name: decoded[task]["acc,none"] for task, name in names.items()},
        items=items,
        child=child,
    )


def _outcome(sample: dict[str, Any]) -> Outcome:
    nats = [float(response[0]) for response in sample["filtered_resps"]]
    right = nats.pop(int(sample["target"]))
    return Outcome(correct=int(sample["acc"]), margin_nats=right - max(nats))


def _threads_environment(threads: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Whether two sides say the same of some models."""

    identical: bool
    """The same items, every one right or wrong alike, and every score the same number."""
    items: int
    different_items: int
    """Right on one side and wrong on the other, or there on one side only."""
    nats_difference: float
    """The largest difference between the sides' margins."""
    closest_nats: float
    """The smallest distance of a margin from 0, where an item would tip over."""


def agreement_of(pairs: Sequence[tuple[Answers, Answers]]) -> Agreement:
    """Compare (ours, theirs) of each model."""
    different, items, apart, closest, same_scores = 0, 0, 0.0, math.inf, True
    for one, other in pairs:
        same_scores = same_scores and one.scores == other.scores
        both = one.items.keys() & other.items.keys()
        items += len(one.items.keys() | other.items.keys())
        different += len(one.items.keys() ^ other.items.keys())
        for key in both:
            left, right = one.items[key], other.items[key]
            different += left.correct != right.correct
            apart = max(apart, abs(left.margin_nats - right.margin_nats))
            closest = min(closest, abs(right.margin_nats))
    return Agreement(
        identical=same_scores and different == 0,
        items=items,
        different_items=different,
        nats_difference=apart,
        closest_nats=closest,
    )
