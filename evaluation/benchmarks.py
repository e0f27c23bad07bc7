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
from lm_eval.models.huggingface import HFLM
from transformers import LogitsProcessor, LogitsProcessorList

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.config import MeasureConfig
from evaluation.loading import Loaded
from evaluation.prepared import BenchmarkTasks
from evaluation.samples import not_finite, rows_of

WORD_BY_WORD = ("exact_match", "em")
"""Metrics for which the right answer is a text that the model should have written."""


def asks_by_chat(config: MeasureConfig, loaded: Loaded) -> bool:
    """Whether benchmarks are asked through the chat template: where the config says so and the
    model has one. Raises EngineError (BAD_INPUT) where it does not know an argument."""
    if not config.chat_template or not loaded.tokenizer.chat_template:
        return False
    loaded.template_arguments_check(config.template_arguments)
    return True


class CountingModel(HFLM):
    """lm-eval's own model class, which says after every batch how far it is.

    It asks for the logits of the answers alone. Over a large vocabulary those of the questions,
    which nobody looks at, would be a good part of a small model's work.
    """

    def __init__(self, loaded: Loaded, config: MeasureConfig) -> None:
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            batch_size=config.batch_size,
            softmax_dtype="float32",
            chat_template_args=dict(config.template_arguments),
        )
        self.asks_by_chat = asks_by_chat(config, loaded)
        """Whether benchmarks are asked through the chat template."""
        self.on_share: Callable[[float], None] = lambda share: None
        """Called with the share of the current benchmark's sequences that are done."""
        self._done = self._total = 0
        self._first_scored: dict[tuple[int, ...], int] = {}

    def _loglikelihood_tokens(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        # Choices that differ in their last token alone share one forward pass.
        self._begin(len({(*context, *choice[:-1]) for _, context, choice in requests}))
        self._first_scored = first_scored(requests, self.max_length)
        return super()._loglikelihood_tokens(requests, *args, **kwargs)

    def generate_until(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[str]:
        self._begin(len(requests))
        return super().generate_until(requests, *args, **kwargs)

    @torch.no_grad()
    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """inps: [batch, tokens], padded with 0 on the right. Returns [batch, kept, vocabulary]:
        lm-eval counts places from the end where logits are fewer than tokens."""
        first = min(self._first_scored[_unpadded(row)] for row in inps.tolist())
        logits: torch.Tensor = self.model(inps, logits_to_keep=inps.shape[1] - first).logits
        self._count(inps.shape[0])
        return logits

    def _model_generate(self, context: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        kwargs["logits_processor"] = LogitsProcessorList([_NumbersOnly()])
        tokens: torch.Tensor = super()._model_generate(context, *args, **kwargs)
        self._count(context.shape[0])
        return tokens

    def _begin(self, total: int) -> None:
        self._done, self._total = 0, max(1, total)

    def _count(self, sequences: int) -> None:
        self._done += sequences
        self.on_share(self._done / self._total)


class _NumbersOnly(LogitsProcessor):
    """Stops a model that answers with NaN: it would write something, and only seem stupid."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores: [batch, vocabulary], handed on as they are."""
        if torch.isnan(scores).any():
            message = "answers with values that are not numbers"
            cure = "The checkpoint's weights are broken: choose another one, or train it again."
            raise EngineError(BAD_INPUT, "model", message, cure)
        return scores


def first_scored(requests: Sequence[Any], max_length: int) -> dict[tuple[int, ...], int]:
    """The first place whose logits are needed, by the tokens that the model sees.

    `requests`: (texts, context tokens, answer tokens). As in lm-eval the model sees all but the
    last token, from the left cut to its longest input. Zeros at the end look like padding; where
    two inputs differ in nothing else, the earlier place counts.
    """
    places: dict[tuple[int, ...], int] = {}
    for _, context, answer in requests:
        seen = [*context, *answer][-(max_length + 1) : -1]
        key = _unpadded(seen)
        first = len(seen) - len(answer)
        places[key] = min(first, places.get(key, first))
    return places


def _unpadded(tokens: list[int]) -> tuple[int, ...]:
    end = len(tokens)
    while end and tokens[end - 1] == 0:
        end -= 1
    return tuple(tokens[:end])


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
