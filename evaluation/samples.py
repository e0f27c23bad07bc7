"""Turns lm-eval's logged samples into the rows of samples.jsonl: one yes/no outcome an item.

Beside right or wrong a row holds the margin in nats: the log-likelihood of the right choice less
that of the best wrong one or, where nothing is chosen, the log-likelihood of the right answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.answers import (
    ENDING_CHARACTERS,
    METRICS,
    is_missing,
    no_answer,
    right_places,
)
from evaluation.prepared import BenchmarkTasks

SHOWN_CHARACTERS = 4_000


def rows_of(
    benchmark: BenchmarkTasks,
    samples: Mapping[str, list[dict[str, Any]]],
    target_nats: Mapping[tuple[str, int], float] | None = None,
) -> tuple[str | None, list[dict[str, Any]]]:
    """The metric that counts and a row an item; (None, []) where a benchmark has no yes/no metric.

    `target_nats` gives the log-likelihood of the right answer by (task, doc_id) for items that the
    model answers freely. An item that occurs twice in a benchmark (the same question word for word)
    is kept once, as rows are joined by hash. Raises EngineError (BAD_INPUT) naming the item that
    has no right answer or a likelihood that is not a number.
    """
    metric = None
    rows: dict[str, dict[str, Any]] = {}
    for task_name, logged in samples.items():
        task = benchmark.tasks[task_name]
        first_filter = logged[0]["filter"] if logged else None
        for sample in logged:
            if sample["filter"] != first_filter:
                continue
            _check_finite(benchmark.config.name, sample)
            names = (benchmark.counts, *METRICS)
            sample_metric = next((name for name in names if sample.get(name) in (0, 1)), None)
            metric = metric or sample_metric
            if sample_metric is None:
                continue
            nats = (target_nats or {}).get((task_name, sample["doc_id"]))
            row = _row(benchmark, task_name, task, sample, sample_metric, nats)
            rows.setdefault(row["doc_hash"], row)
    return metric, list(rows.values())


def _row(
    benchmark: BenchmarkTasks,
    task_name: str,
    task: Any,
    sample: dict[str, Any],
    metric: str,
    target_nats: float | None,
) -> dict[str, Any]:
    choices = _choices(benchmark.config.name, task, sample)
    if choices is None:
        target, answer = _free_answer(benchmark.config.name, sample)
        margin = _own_nats(task, sample) if target_nats is None else target_nats
    else:
        target, answer, margin = _choice_texts(choices, metric)
    return {
        "benchmark": benchmark.config.name,
        "doc_hash": doc_hash_of(benchmark, task_name, sample["doc_hash"]),
        "prompt_hash": sample["prompt_hash"],
        "target_hash": sample["target_hash"],
        "correct": int(sample[metric]),
        "margin_nats": margin,
        "question": _prompt(sample)[-SHOWN_CHARACTERS:],
        "target": target[:SHOWN_CHARACTERS],
        "answer": answer[:SHOWN_CHARACTERS],
        "cluster": _cluster(benchmark, task_name, sample),
    }


def doc_hash_of(benchmark: BenchmarkTasks, task_name: str, doc_hash: str) -> str:
    """The hash that joins an item's rows: lm-eval's own, with the task's name in a group, as two
    subtasks may ask the same of different choices."""
    if not benchmark.is_group:
        return doc_hash
    return hashlib.sha256(f"{task_name}:{doc_hash}".encode()).hexdigest()


def _cluster(benchmark: BenchmarkTasks, task_name: str, sample: dict[str, Any]) -> str | None:
    if benchmark.is_group:
        return task_name
    field = benchmark.cluster_field
    return (sample["doc"].get(field) or None) if field else None


@dataclass(frozen=True, kw_only=True)
class _Choice:
    text: str
    nats: float
    """Log-likelihood as a continuation of the question."""
    is_right: bool


def _choices(benchmark: str, task: Any, sample: dict[str, Any]) -> list[_Choice] | None:
    """Every choice of an item; None where nothing was chosen, or contexts were compared."""
    if task.OUTPUT_TYPE != "multiple_choice" or getattr(task, "multiple_input", 0):
        return None
    texts = task.doc_to_choice(sample["doc"])
    target = sample["target"]
    right = right_places(texts, target)
    if right is None:
        raise no_answer(benchmark, _prompt(sample), f"its {len(texts)} choices do not hold it")
    # Some metrics ask for every choice again without the question; those come last.
    continuations = [arguments[1] for arguments in sample["arguments"]][: len(texts)]
    likelihoods = [float(response[0]) for response in sample["filtered_resps"]][: len(texts)]
    return [
        _Choice(text=text, nats=nats, is_right=place in right)
        for place, (text, nats) in enumerate(zip(continuations, likelihoods, strict=True))
    ]


def _choice_texts(choices: list[_Choice], metric: str) -> tuple[str, str, float | None]:
    """What was right, what the model took, and the margin between right and best wrong."""

    def score(choice: _Choice) -> float:
        return choice.nats / max(1, len(choice.text)) if metric == "acc_norm" else choice.nats

    right = max((one for one in choices if one.is_right), key=score)
    wrong = [one.nats for one in choices if not one.is_right]
    margin = right.nats - max(wrong) if wrong else None
    return right.text.strip(), max(choices, key=score).text.strip(), margin


def _free_answer(benchmark: str, sample: dict[str, Any]) -> tuple[str, str]:
    """What was right, and what the model said."""
    target = sample["target"]
    if is_missing(target):
        raise no_answer(benchmark, _prompt(sample), "it is empty")
    return str(target), str(sample["filtered_resps"][0])


def _own_nats(task: Any, sample: dict[str, Any]) -> float | None:
    """The likelihood that a task which asks for nothing else has measured already."""
    if task.OUTPUT_TYPE != "loglikelihood":
        return None
    return float(sample["filtered_resps"][0][0])


def _prompt(sample: dict[str, Any]) -> str:
    return str(sample["arguments"][0][0])


def _check_finite(benchmark: str, sample: dict[str, Any]) -> None:
    """Refuse a NaN or infinite likelihood: it would count as a wrong answer and hide the cause."""
    for response in sample["filtered_resps"]:
        value = response[0] if isinstance(response, list | tuple) and response else response
        if isinstance(value, float) and not math.isfinite(value):
            raise not_finite(benchmark, sample)


def not_finite(benchmark: str, sample: dict[str, Any]) -> EngineError:
    """The refusal of a model whose likelihood of an item is NaN or infinite."""
    return EngineError(
        BAD_INPUT,
        f"benchmark {benchmark}",
        f"the item ending in “{_ending(sample)}” got a likelihood that is not a number",
        "The checkpoint's weights are broken: choose another one, or train it again.",
    )


def _ending(sample: dict[str, Any]) -> str:
    return " ".join(_prompt(sample).split())[-ENDING_CHARACTERS:]
