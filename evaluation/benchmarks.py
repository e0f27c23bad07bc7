"""Runs lm-eval's tasks on a model in memory and turns its answers into our rows.

lm-eval's response cache is never used: its keys do not name the model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate

from evaluation.config import MeasureConfig
from evaluation.likelihoods import CountingModel
from evaluation.prepared import BenchmarkTasks
from evaluation.samples import not_finite, rows_of

WORD_BY_WORD = ("exact_match", "em")
"""Metrics for which the right answer is a text that the model should have written."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model answered to the items of a benchmark."""

    metric: str | None
    """The yes/no metric that counts; None where there is none."""
    rows: list[dict[str, Any]]
    results: Any
    """All that lm-eval says of them."""


def answers_measure(
    benchmark: BenchmarkTasks,
    model: CountingModel,
    config: MeasureConfig,
    on_share: Callable[[float], None],
) -> Answers:
    """Let the model answer the items that `benchmark.indices` names; all of them without it.

    Raises EngineError (BAD_INPUT) naming the item where a likelihood is not finite.
    """
    model.on_share = on_share
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    results = evaluate(
        lm=model,
        task_dict={"tasks": benchmark.tasks, "groups": {}},
        samples=benchmark.indices or None,
        bootstrap_iters=1000,
        log_samples=True,
        confirm_run_unsafe_code=config.allow_code_execution,
        apply_chat_template=model.asks_by_chat,
        fewshot_as_multiturn=model.asks_by_chat,
    )
    model.on_share = lambda share: on_share(1.0)  # a little is left to do: see below
    target_nats = _target_nats(benchmark, results["samples"], model)
    metric, rows = rows_of(benchmark, results["samples"], target_nats)
    return Answers(metric=metric, rows=rows, results=results)


def benchmark_measure(
    benchmark: BenchmarkTasks,
    model: CountingModel,
    config: MeasureConfig,
    on_share: Callable[[float], None],
) -> dict[str, Any]:
    """Measure one benchmark whole: {"scores": [...], "samples": [...]}.

    Raises EngineError as `answers_measure`.
    """
    answers = answers_measure(benchmark, model, config, on_share)
    metric, rows = answers.metric, answers.rows
    scores = [] if metric is None else [share_score(benchmark.config.name, metric, rows)]
    if not benchmark.is_group:
        (name,) = benchmark.tasks
        scores += _others(benchmark.config.name, name, answers.results, known=metric)
    return {"scores": scores, "samples": rows}


def _target_nats(
    benchmark: BenchmarkTasks, samples: Mapping[str, list[dict[str, Any]]], model: CountingModel
) -> dict[tuple[str, int], float]:
    """Log-likelihood of the right answer of every item that is answered freely and compared with
    it word by word, by (task, doc_id): one more forward pass an item, far cheaper than an answer.
    """
    margins: dict[tuple[str, int], float] = {}
    for name, logged in samples.items():
        task = benchmark.tasks[name]
        if task.OUTPUT_TYPE != "generate_until":
            continue
        delimiter = "" if model.asks_by_chat else task.config.target_delimiter
        asked = {
            one["doc_id"]: one
            for one in logged
            if isinstance(one["target"], str)
            and one["target"].strip()
            and any(metric in one for metric in WORD_BY_WORD)
        }
        requests = [
            Instance(
                request_type="loglikelihood",
                doc={},
                arguments=(one["arguments"][0][0], f"{delimiter}{one['target']}"),
                idx=0,
            )
            for one in asked.values()
        ]
        answers = model.loglikelihood(requests, disable_tqdm=True) if requests else []
        for (doc_id, sample), (nats, _) in zip(asked.items(), answers, strict=True):
            if not math.isfinite(nats):
                raise not_finite(benchmark.config.name, sample)
            margins[name, doc_id] = float(nats)
    return margins


def share_score(benchmark: str, metric: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The share of right answers with its standard error."""
    n = len(rows)
    value = sum(row["correct"] for row in rows) / n
    return {
        "benchmark": benchmark,
        "metric": metric,
        "value": value,
        "stderr": math.sqrt(value * (1 - value) / (n - 1)) if n > 1 else None,
        "n": n,
        "higher_is_better": True,
        "unit": "share",
    }


def _others(benchmark: str, task: str, results: Any, known: str | None) -> list[dict[str, Any]]:
    """lm-eval's further metrics of a task, such as acc_norm or a word perplexity."""
    figures = results["results"][task]
    scores = []
    for key, value in figures.items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or metric == known:
            continue
        if not isinstance(value, int | float) or not math.isfinite(value):
            continue
        error = figures.get(f"{metric}_stderr,{kind}")
        finite = isinstance(error, int | float) and math.isfinite(error)
        scores.append(
            {
                "benchmark": benchmark,
                "metric": metric if kind == "none" else f"{metric} ({kind})",
                "value": float(value),
                "stderr": float(error) if finite else None,
                "n": results["n-samples"][task]["effective"],
                "higher_is_better": bool(results["higher_is_better"][task].get(metric, True)),
                "unit": "",
            }
        )
    return scores
