"""Turns lm-eval's logged samples into the rows of samples.jsonl: one yes/no outcome an item."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from evaluation.tasks import BenchmarkTasks
from training.engine import EngineError
from training.process import BAD_INPUT

METRICS = ("acc_norm", "acc", "exact_match", "pass@1", "pass_at_1", "prompt_level_strict_acc", "em")
"""Yes/no metrics of an item, the one that counts first: length-normalised where a task has it."""

SHOWN_CHARACTERS = 4_000


def rows_of(
    benchmark: BenchmarkTasks, samples: Mapping[str, list[dict[str, Any]]]
) -> tuple[str | None, list[dict[str, Any]]]:
    """The metric that counts and a row an item; (None, []) where a benchmark has no yes/no metric.

    An item that occurs twice in a benchmark (the same question word for word) is kept once, as
    rows are joined by hash.
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
            found = next((name for name in METRICS if sample.get(name) in (0, 1)), None)
            metric = metric or found
            if found is None:
                continue
            row = _row(benchmark, task_name, task, sample, found)
            rows.setdefault(row["doc_hash"], row)
    return metric, list(rows.values())


def _row(
    benchmark: BenchmarkTasks, task_name: str, task: Any, sample: dict[str, Any], metric: str
) -> dict[str, Any]:
    doc_hash = sample["doc_hash"]
    if benchmark.is_group:  # two subtasks may ask the same of different choices
        doc_hash = hashlib.sha256(f"{task_name}:{doc_hash}".encode()).hexdigest()
    choices = _choices(task, sample)
    if choices is None:
        target, answer, margin = str(sample["target"]), str(sample["filtered_resps"][0]), None
    else:
        target, answer, margin = _choice_texts(sample, choices, metric)
    return {
        "benchmark": benchmark.config.name,
        "doc_hash": doc_hash,
        "prompt_hash": sample["prompt_hash"],
        "target_hash": sample["target_hash"],
        "correct": int(sample[metric]),
        "margin_nats": margin,
        "question": _prompt(sample)[-SHOWN_CHARACTERS:],
        "target": target[:SHOWN_CHARACTERS],
        "answer": answer[:SHOWN_CHARACTERS],
        "cluster": task_name if benchmark.is_group else None,
    }


def _choices(task: Any, sample: dict[str, Any]) -> list[tuple[str, float]] | None:
    """(continuation, log-likelihood in nats) of every choice; None where nothing was chosen."""
    if task.OUTPUT_TYPE != "multiple_choice" or not isinstance(sample["target"], int):
        return None
    texts = [arguments[1] for arguments in sample["arguments"]]
    likelihoods = [float(response[0]) for response in sample["filtered_resps"]]
    # Some metrics ask for every choice again without the question; those come last.
    count = len(task.doc_to_choice(sample["doc"]))
    if not 0 <= sample["target"] < count <= len(likelihoods):
        return None
    return list(zip(texts, likelihoods, strict=True))[:count]


def _choice_texts(
    sample: dict[str, Any], choices: list[tuple[str, float]], metric: str
) -> tuple[str, str, float | None]:
    target = sample["target"]

    def score(choice: tuple[str, float]) -> float:
        return choice[1] / max(1, len(choice[0])) if metric == "acc_norm" else choice[1]

    wrong = [likelihood for i, (_, likelihood) in enumerate(choices) if i != target]
    margin = choices[target][1] - max(wrong) if wrong else None
    answer = max(choices, key=score)
    return choices[target][0].strip(), answer[0].strip(), margin


def _prompt(sample: dict[str, Any]) -> str:
    return str(sample["arguments"][0][0])


def _check_finite(benchmark: str, sample: dict[str, Any]) -> None:
    """Refuse a NaN or infinite likelihood: it would count as a wrong answer and hide the cause."""
    for response in sample["filtered_resps"]:
        value = response[0] if isinstance(response, list | tuple) and response else response
        if isinstance(value, float) and not math.isfinite(value):
            asked = " ".join(_prompt(sample).split())[-80:]
            raise EngineError(
                BAD_INPUT,
                f"benchmark {benchmark}",
                f"the item ending in “{asked}” got a likelihood that is no number",
                "The checkpoint's weights are broken: choose another one, or train it again.",
            )
