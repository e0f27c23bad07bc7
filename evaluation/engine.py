"""One attempt of an evaluation: what is checked before torch is imported, and what is written."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.config import GenerateConfig, MeasureConfig, config_from_json
from evaluation.parts import Parts
from evaluation.progress import Progress
from training.engine import Attempt, EngineError, is_out_of_memory
from training.modelcheck import model_directory_problems
from training.process import BAD_INPUT, OUT_OF_MEMORY

if TYPE_CHECKING:
    from evaluation.loading import Loaded


def work(attempt: Attempt, record: Any) -> None:
    """Do what config.json asks for; the frame of the attempt turns exceptions into exit codes."""
    config = config_from_json(record)
    problems = model_directory_problems(config.model)
    if problems:
        first = problems[0]
        raise EngineError(BAD_INPUT, first.where, first.message, first.cure)
    started = time.monotonic()
    attempt.events.progress(done=0, total=None, unit="items", phase="loading the model")
    with tempfile.TemporaryDirectory(dir=attempt.directory, prefix="scratch-") as scratch:
        _environment(config)
        try:
            if isinstance(config, GenerateConfig):
                summary = _generate(attempt, config)
            else:
                summary = _measure(attempt, config, Parts(attempt, record), Path(scratch))
        except Exception as error:
            if is_out_of_memory(error):
                cure = "Lower batch_size or window_tokens, or measure on a larger machine."
                message = "memory ran out"
                raise EngineError(OUT_OF_MEMORY, "memory", message, cure) from error
            raise
    attempt.events.done(summary=summary | {"seconds": round(time.monotonic() - started, 3)})


def _environment(config: MeasureConfig | GenerateConfig) -> None:
    """What the libraries read from the environment while they are imported."""
    if not getattr(config, "hub", False):
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    if getattr(config, "allow_code_execution", False):
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    # Threads that spin while they wait make forwards fifty times slower once another process (a
    # training run, say) wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of a measurement: a held-out set or a benchmark."""

    name: str
    items: int
    cost_tokens: float
    run: Callable[[Callable[[float], None]], dict[str, Any]]
    """Measures; gets a function to tell the share that is done."""


def _measure(
    attempt: Attempt, config: MeasureConfig, parts: Parts, scratch: Path
) -> dict[str, Any]:
    from evaluation import loading

    loaded = loading.model_load(config)
    attempt.check_stop()
    # Everything is read before anything is measured: what is wrong shows in the first seconds.
    steps = [*_text_steps(config, loaded), *_benchmark_steps(config, loaded, scratch)]
    attempt.check_stop()
    sizes = {step.name: (step.items, step.cost_tokens) for step in steps}
    progress = Progress(attempt, unit="items", parts=sizes)
    results = [_step_run(step, attempt, parts, progress) for step in steps]
    scores = [score for result in results for score in result["scores"]]
    samples, documents = (
        [row for result in results for row in result.get(kind, [])]
        for kind in ("samples", "documents")
    )
    settings = loading.settings_of(config, loaded) | {
        "window_tokens": config.window_tokens,
        "stride_tokens": config.stride_tokens,
    }
    with attempt.output_directory() as output:
        _json_write(output / "scores.json", {"scores": scores})
        _lines_write(output / "samples.jsonl", samples)
        _lines_write(output / "documents.jsonl", documents)
        _json_write(output / "settings.json", settings)
    return {"scores": scores, "item_count": len(samples), "document_count": len(documents)}


def _step_run(step: Step, attempt: Attempt, parts: Parts, progress: Progress) -> dict[str, Any]:
    result = parts.get(step.name)
    if result is None:
        result = step.run(lambda share: progress.advance(step.name, share))
    else:
        progress.skip(step.name)
    if result.get("samples") == []:
        message = "has no yes/no metric, so it is shown but cannot decide a verdict"
        attempt.events.warning(where=f"benchmark {step.name}", message=message)
    parts.put(step.name, result)
    progress.finish(step.name)
    return result


def _text_steps(config: MeasureConfig, loaded: Loaded) -> Iterator[Step]:
    from evaluation.perplexity import documents_encode, held_out_measure

    for held_out in config.held_out:
        documents = documents_encode(held_out, config, loaded)
        yield Step(
            name=f"perplexity on {held_out.name}",
            items=len(documents),
            cost_tokens=sum(len(document.token_ids) for document in documents),
            run=partial(held_out_measure, held_out, documents, config, loaded),
        )


def _benchmark_steps(config: MeasureConfig, loaded: Loaded, scratch: Path) -> Iterator[Step]:
    if not config.benchmarks:
        return
    from evaluation.benchmarks import CountingModel, benchmark_measure
    from evaluation.tasks import TOKENS_AN_ITEM, benchmarks_prepare

    model = CountingModel(loaded, config.batch_size)
    for benchmark in benchmarks_prepare(config, scratch):
        yield Step(
            name=benchmark.config.name,
            items=benchmark.item_count,
            cost_tokens=benchmark.item_count * TOKENS_AN_ITEM,
            run=partial(benchmark_measure, benchmark, model, config),
        )


def _generate(attempt: Attempt, config: GenerateConfig) -> dict[str, Any]:
    from evaluation import generation, loading

    loaded = loading.model_load(config)
    count = len(config.prompts)
    progress = Progress(attempt, unit="prompts", parts={"answering": (count, float(count))})
    answers = generation.answers_generate(
        config,
        loaded,
        on_token=lambda share: progress.advance("answering", share),
        on_warning=lambda message: attempt.events.warning(where="batch_size", message=message),
    )
    progress.finish("answering")
    settings = loading.settings_of(config, loaded) | {
        "max_new_tokens": config.max_new_tokens,
        "temperature": config.temperature,
    }
    with attempt.output_directory() as output:
        _lines_write(output / "generations.jsonl", answers)
        _json_write(output / "settings.json", settings)
    return {"answer_count": count, "token_count": sum(answer["tokens"] for answer in answers)}


def _json_write(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _lines_write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
