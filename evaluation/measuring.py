"""A measurement, part by part: everything is read first, then measured, then written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.attempt import Attempt
from engine.directory import json_write
from evaluation.config import AUTO, MeasureConfig
from evaluation.parts import Parts
from evaluation.progress import Progress

if TYPE_CHECKING:
    from evaluation.batching import BatchSize
    from evaluation.divergence import Reference
    from evaluation.likelihoods import CountingModel
    from evaluation.loading import Loaded
    from evaluation.prepared import BenchmarkTasks

ROWS = ("samples", "documents", "retention")
"""The files of rows that a measurement writes, each `<name>.jsonl`, empty where not asked for."""

DIVERGENCE = "forward_kl"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of a measurement: a held-out set, a session or a benchmark."""

    name: str
    """What pages show while it is measured."""
    key: str
    """Names its result among the finished parts; unique."""
    items: int
    cost_tokens: float
    run: Callable[[Callable[[float], None]], dict[str, Any]]
    """Measures; gets a function to tell the share that is done."""


def measure(attempt: Attempt, config: MeasureConfig, parts: Parts, scratch: Path) -> dict[str, Any]:
    """Measure all that the config asks for, write the output and return the summary."""
    from evaluation import loading

    config = replace(config, **parts.pinned)
    reference = _reference(attempt, config, parts)
    loaded = loading.model_load(config)
    attempt.check_stop()
    benchmarks = _benchmarks_read(config, loaded, scratch, attempt)
    batch = _batch_size(config, loaded, benchmarks, attempt)
    config = replace(config, dtype=loaded.dtype, batch_size=batch.size)
    parts.pin({"dtype": loaded.dtype, "batch_size": batch.size})
    attempt.check_stop()
    # Everything is read before anything is measured: what is wrong shows in the first seconds.
    steps = [
        *_text_steps(config, loaded),
        *_session_steps(config, loaded, attempt),
        *_divergence_steps(config, loaded, reference),
        *_benchmark_steps(config, benchmarks, attempt),
    ]
    attempt.check_stop()
    sizes = {step.name: (step.items, step.cost_tokens) for step in steps}
    progress = Progress(attempt, unit="items", parts=sizes)
    results = [_step_run(step, attempt, parts, progress) for step in steps]
    settings = loading.settings_of(config, loaded, batch) | {
        "window_tokens": config.window_tokens,
        "stride_tokens": config.stride_tokens,
        "adaptive": _adaptive_settings(config, results),
        "divergence": next((one["divergence"] for one in results if "divergence" in one), None),
        **_chat_settings(config, loaded),
    }
    return _results_write(attempt, results, settings)


def _chat_settings(config: MeasureConfig, loaded: Loaded) -> dict[str, Any]:
    """How benchmarks were asked, where the config says by chat template."""
    if not config.chat_template or not config.benchmarks:
        return {}
    template = loaded.tokenizer.chat_template
    if not template:
        return {"chat_template": "none: asked as plain text"}
    sha256 = hashlib.sha256(json.dumps(template).encode()).hexdigest()
    return {
        "chat_template": "the model's",
        "chat_template_sha256": sha256,
        "template_arguments": dict(config.template_arguments),
    }


def _results_write(
    attempt: Attempt, results: list[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    scores = [score for result in results for score in result["scores"]]
    rows = {name: [row for result in results for row in result.get(name, [])] for name in ROWS}
    with attempt.output_directory() as output:
        json_write(output / "scores.json", {"scores": scores})
        for name in ROWS:
            lines_write(output / f"{name}.jsonl", rows[name])
        json_write(output / "settings.json", settings)
    return {
        "scores": scores,
        "item_count": len(rows["samples"]),
        "document_count": len(rows["documents"]),
        "held_out_example_count": len(rows["retention"]),
    }


def _step_run(step: Step, attempt: Attempt, parts: Parts, progress: Progress) -> dict[str, Any]:
    result = parts.get(step.key)
    if result is None:
        result = step.run(lambda share: progress.advance(step.name, share))
    else:
        progress.skip(step.name)
    if result.get("samples") == []:
        message = "has no yes/no metric, so it is shown but cannot decide a verdict"
        attempt.events.warning(where=f"benchmark {step.name}", message=message)
    parts.put(step.key, result)
    progress.finish(step.name, result.get("stop", {}).get("words", ""))
    return result


def _text_steps(config: MeasureConfig, loaded: Loaded) -> Iterator[Step]:
    from evaluation.perplexity import documents_encode, held_out_measure

    for held_out in config.held_out:
        documents = documents_encode(held_out, config, loaded)
        yield Step(
            name=f"perplexity on {held_out.name}",
            key=f"held_out:{held_out.key}",
            items=len(documents),
            cost_tokens=sum(len(document.token_ids) for document in documents),
            run=partial(held_out_measure, held_out, documents, config, loaded),
        )


def _session_steps(config: MeasureConfig, loaded: Loaded, attempt: Attempt) -> Iterator[Step]:
    if not config.sessions:
        return
    from evaluation.retention import session_measure, slice_read

    for number, session in enumerate(config.sessions, start=1):
        held_out = slice_read(session, config, loaded)
        if held_out.too_long_count:
            message = (
                f"{held_out.too_long_count:,} examples that {session.name} set aside are longer "
                "than the limit: not measured"
            )
            attempt.events.warning(where="sessions.max_tokens", message=message)
        tokens = sum(len(one.encoded.token_ids) for one in held_out.examples)
        yield Step(
            name=f"what it kept of {session.name} ({number} of {len(config.sessions)})",
            key=f"session:{session.key}",
            items=len(held_out.examples),
            cost_tokens=float(tokens),
            run=partial(session_measure, session, held_out.examples, loaded),
        )


def _reference(attempt: Attempt, config: MeasureConfig, parts: Parts) -> Reference | None:
    """What the parent says; None where nobody asks, or where it was compared already."""
    if config.parent is None or parts.get(DIVERGENCE) is not None:
        return None
    from evaluation.divergence import reference_read

    attempt.events.progress(done=0, total=None, unit="items", phase="asking the parent")
    reference = reference_read(config)
    attempt.check_stop()
    return reference


def _divergence_steps(
    config: MeasureConfig, loaded: Loaded, reference: Reference | None
) -> Iterator[Step]:
    if config.parent is None:
        return
    from evaluation.divergence import Reference, divergence_measure

    kept = reference or Reference(places={})  # measured by an earlier attempt: not run again
    if reference is not None and not kept.token_count:
        return  # every text is too long or empty
    yield Step(
        name="distance from the parent",
        key=DIVERGENCE,
        items=sum(len(place) for place in kept.places.values()),
        cost_tokens=float(kept.token_count),
        run=partial(divergence_measure, kept, loaded),
    )


def _benchmarks_read(
    config: MeasureConfig, loaded: Loaded, scratch: Path, attempt: Attempt
) -> tuple[CountingModel, list[BenchmarkTasks]] | None:
    """The model as benchmarks ask it, one sequence a pass until more are known to fit, and their
    items; None where no benchmark is asked."""
    if not config.benchmarks:
        return None
    from evaluation.likelihoods import CountingModel
    from evaluation.tasks import benchmarks_prepare

    model = CountingModel(loaded, config)
    if config.chat_template and not model.asks_by_chat:
        message = "the model has no chat template, so benchmarks are asked as plain text"
        attempt.events.warning(where="chat_template", message=message)
    return model, benchmarks_prepare(config, scratch)


def _batch_size(
    config: MeasureConfig,
    loaded: Loaded,
    benchmarks: tuple[CountingModel, list[BenchmarkTasks]] | None,
    attempt: Attempt,
) -> BatchSize:
    """How many sequences a pass takes; tried out on a GPU, where it is not given."""
    from evaluation.batching import Workload, batch_size, is_tried
    from evaluation.workload import passes_like, workload_read

    if benchmarks is None:
        return batch_size(config, loaded.device, None, lambda size: None)
    model, prepared = benchmarks
    wanted = config.batch_size == AUTO or config.pinned_by is not None
    workload = Workload()
    if wanted and is_tried(loaded.device):
        phase = "finding how many sequences fit a pass"
        attempt.events.progress(done=0, total=None, unit="items", phase=phase)
        workload = workload_read(prepared, model, config)
    batch = batch_size(config, loaded.device, workload, passes_like(workload, model))
    model.batch_size_per_gpu = batch.size
    return batch


def _benchmark_steps(
    config: MeasureConfig,
    benchmarks: tuple[CountingModel, list[BenchmarkTasks]] | None,
    attempt: Attempt,
) -> Iterator[Step]:
    if benchmarks is None:
        return
    from evaluation.benchmarks import benchmark_measure
    from evaluation.stopping import group_measure, stoppable_groups
    from evaluation.tasks import TOKENS_AN_ITEM

    model, prepared = benchmarks

    def on_whole(name: str, why: str) -> None:
        message = f"it is measured whole and not stopped early: {why}"
        attempt.events.warning(where=f"benchmark {name}", message=message)

    groups = stoppable_groups(config.adaptive, prepared, on_whole) if config.adaptive else []
    stoppable = {name for one in groups for name in one.group.benchmarks}
    for benchmark in prepared:
        if benchmark.config.name not in stoppable:
            yield Step(
                name=benchmark.config.name,
                key=f"benchmark:{benchmark.config.name}",
                items=benchmark.item_count,
                cost_tokens=benchmark.item_count * TOKENS_AN_ITEM,
                run=partial(benchmark_measure, benchmark, model, config),
            )
    for one in groups:
        yield Step(
            name=one.group.name,
            key=f"adaptive:{'+'.join(one.group.benchmarks)}",
            items=one.item_count,
            cost_tokens=one.item_count * TOKENS_AN_ITEM,
            run=partial(group_measure, one, model, config),
        )


def _adaptive_settings(
    config: MeasureConfig, results: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """How it was stopped early, so that nobody takes the results for those of all items."""
    if config.adaptive is None:
        return None
    adaptive = config.adaptive
    return {
        "alpha": adaptive.alpha,
        "together": adaptive.together,
        "seed": adaptive.seed,
        "before_sha256": adaptive.before_sha256,
        "groups": [one["stop"] for one in results if "stop" in one],
    }


def lines_write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line; NaN is refused."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
