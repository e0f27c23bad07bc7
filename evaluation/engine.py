"""One attempt of an evaluation: what is checked before torch is imported, and what is written."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.attempt import Attempt, EngineError, is_out_of_memory
from engine.directory import json_write
from engine.manifest import ManifestError, manifest_check
from engine.modelcheck import model_directory_problems
from engine.process import BAD_INPUT, OUT_OF_MEMORY, environment_set
from evaluation.config import (
    EngineConfig,
    GenerateConfig,
    ScoreConfig,
    config_from_json,
)
from evaluation.measuring import lines_write, measure
from evaluation.parts import Parts
from evaluation.progress import Progress


def work(attempt: Attempt, record: Any) -> None:
    """Do what config.json asks for; the frame of the attempt turns exceptions into exit codes."""
    config = config_from_json(record)
    problems = model_directory_problems(config.model, gguf=True)
    if problems:
        first = problems[0]
        raise EngineError(BAD_INPUT, first.where, first.message, first.cure)
    started = time.monotonic()
    _manifest_check(attempt, config)
    attempt.events.progress(done=0, total=None, unit="items", phase="loading the model")
    with tempfile.TemporaryDirectory(dir=attempt.directory, prefix="scratch-") as scratch:
        _environment(config)
        try:
            if isinstance(config, GenerateConfig):
                summary = _generate(attempt, config)
            elif isinstance(config, ScoreConfig):
                summary = _score(attempt, config, Parts(attempt, record))
            else:
                summary = measure(attempt, config, Parts(attempt, record), Path(scratch))
        except Exception as error:
            if is_out_of_memory(error):
                cure = "Lower batch_size or window_tokens, or measure on a larger machine."
                message = "memory ran out"
                raise EngineError(OUT_OF_MEMORY, "memory", message, cure) from error
            raise
    attempt.events.done(summary=summary | {"seconds": round(time.monotonic() - started, 3)})


def _manifest_check(attempt: Attempt, config: EngineConfig) -> None:
    """Refuse weights that are not those under whose hash the results will be kept."""
    if config.manifest_sha256 is None:
        return
    attempt.events.progress(done=0, total=None, unit="items", phase="checking the model's files")
    cure = "Register the model again, or put its own files back."
    try:
        manifest = manifest_check(config.model)
    except ManifestError as error:
        raise EngineError(BAD_INPUT, "model", str(error), cure) from error
    if manifest["sha256"] != config.manifest_sha256:
        message = "its files are those of another checkpoint: the manifest's hash differs"
        raise EngineError(BAD_INPUT, "model", message, cure)


def _environment(config: EngineConfig) -> None:
    """What the libraries read from the environment while they are imported."""
    environment_set(hub=getattr(config, "hub", False))
    if getattr(config, "allow_code_execution", False):
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _generate(attempt: Attempt, config: GenerateConfig) -> dict[str, Any]:
    from evaluation import generation, loading

    loaded = loading.model_load(config)
    batch = generation.answers_batch_size(config, loaded)
    count = len(config.prompts)
    progress = Progress(attempt, unit="prompts", parts={"answering": (count, float(count))})
    answers = generation.answers_generate(
        config,
        loaded,
        batch.size,
        on_token=lambda share: progress.advance("answering", share),
        on_warning=lambda message: attempt.events.warning(where="batch_size", message=message),
        on_text=lambda sha256, text: attempt.events.text(key=sha256, text=text),
    )
    progress.finish("answering")
    settings = loading.settings_of(config, loaded, batch) | {
        "max_new_tokens": config.max_new_tokens,
        "temperature": config.temperature,
    }
    with attempt.output_directory() as output:
        lines_write(output / "generations.jsonl", answers)
        json_write(output / "settings.json", settings)
    return {"answer_count": count, "token_count": sum(answer["tokens"] for answer in answers)}


def _score(attempt: Attempt, config: ScoreConfig, parts: Parts) -> dict[str, Any]:
    from evaluation.learnability import batch_score

    return batch_score(attempt, config, parts)
