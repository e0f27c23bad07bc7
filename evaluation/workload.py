"""The lengths of everything that benchmarks ask in batches, and a pass as large as the largest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.nn import functional

from evaluation.batching import Workload
from evaluation.config import MeasureConfig
from evaluation.likelihoods import CountingModel
from evaluation.prepared import BenchmarkTasks


def workload_read(
    prepared: Sequence[BenchmarkTasks], model: CountingModel, config: MeasureConfig
) -> Workload:
    """Write out every question as lm-eval will, and count its tokens. The draws of examples begin
    anew afterwards, so that the questions of the measurement are the same."""
    scored: list[tuple[int, int]] = []
    generated = 0
    most = model.max_length
    for benchmark in prepared:
        for name, task in benchmark.tasks.items():
            _questions_write(task, benchmark.indices.get(name), model)
            asked = [(one.request_type, one.args) for one in task.instances]
            texts = [args for kind, args in asked if kind == "loglikelihood"]
            scored += _scored_lengths(texts, model)
            whole = [args[0] for kind, args in asked if kind == "loglikelihood_rolling"]
            scored += [(min(most, one), min(most, one)) for one in _lengths(whole, model)]
            open_ended = [args for kind, args in asked if kind == "generate_until"]
            generated = max(generated, _generated_tokens(open_ended, model))
            task.set_fewshot_seed(seed=config.seed)
    # An answer in words is scored too, as the text that it should have been.
    return Workload(scored=sorted(scored, reverse=True), generated_tokens=min(most, generated))


def _questions_write(task: Any, places: list[int] | None, model: CountingModel) -> None:
    chat = model.asks_by_chat
    task.build_all_requests(
        samples=places or None,
        rank=model.rank,
        world_size=model.world_size,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        chat_template=model.apply_chat_template if chat else None,
        tokenizer_name=model.tokenizer_name if chat else "",
    )


def _scored_lengths(
    pairs: Sequence[tuple[str, str]], model: CountingModel
) -> Iterable[tuple[int, int]]:
    """(tokens read, those of the answer) of each, cut as the model cuts them."""
    whole = _lengths([question + answer for question, answer in pairs], model)
    questions = _lengths([question for question, _ in pairs], model)
    for all_tokens, question in zip(whole, questions, strict=True):
        read = min(max(1, all_tokens - 1), model.max_length)
        yield read, min(read, max(1, all_tokens - question) + 1)


def _generated_tokens(asked: Sequence[tuple[str, dict[str, Any]]], model: CountingModel) -> int:
    prompts = _lengths([prompt for prompt, _ in asked], model)
    rooms = [int(how.get("max_gen_toks") or model.max_gen_toks) for _, how in asked]
    return max((sum(pair) for pair in zip(prompts, rooms, strict=True)), default=0)


def _lengths(texts: Sequence[str], model: CountingModel) -> list[int]:
    return [len(ids) for ids in model.tokenizer(list(texts))["input_ids"]] if texts else []


def passes_like(workload: Workload, model: CountingModel) -> Callable[[int], None]:
    """A function that runs the largest pass of so many sequences that the workload can ask for."""

    @torch.inference_mode()
    def tried(size: int) -> None:
        if workload.scored:
            tokens = workload.scored[0][0]
            kept = workload.kept(size)
            logits = model.answer_logits([[0] * tokens] * size, tokens - kept)
            functional.log_softmax(logits[0], dim=-1, dtype=torch.float32)
            del logits
        if workload.generated_tokens:
            shape = (size, workload.generated_tokens)
            inputs = torch.zeros(shape, dtype=torch.long, device=model.inputs_device)
            model.model(inputs, use_cache=True, logits_to_keep=1)
        if model.inputs_device.type == "cuda":
            torch.cuda.synchronize()

    return tried
