"""The tiny model loaded once, and a way to run an attempt in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model_directory: Path) -> Any:
    """The tiny model as the engine loads it, in float32 on the CPU."""
    from evaluation.config import GenerateConfig, PromptConfig
    from evaluation.loading import model_load

    prompt = PromptConfig(sha256="p", messages=({"role": "user", "content": "hello"},))
    return model_load(
        GenerateConfig(model=str(tiny_model_directory), prompts=(prompt,), device="cpu")
    )


@pytest.fixture
def measure_config(tiny_model_directory: Path, tmp_path: Path) -> dict[str, Any]:
    """A config.json that measures two small benchmarks and three documents."""
    import hashlib

    texts = ["Prose is text.\n" * 20, "A shorter document, with an é in it.", "x = 1\n" * 30]
    path = tmp_path / "held_out.jsonl"
    path.write_text(
        "".join(
            json.dumps({"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}) + "\n"
            for text in texts
        )
    )
    return {
        "action": "measure",
        "model": str(tiny_model_directory),
        "benchmarks": [
            {"name": "local_arithmetic", "source": "local", "limit": 5},
            {"name": "local_code", "source": "local", "limit": 3},
        ],
        "held_out": [
            {"key": "k1", "name": "Texts", "domain": "prose", "path": str(path), "max_tokens": 200}
        ],
        "window_tokens": 64,
        "stride_tokens": 32,
        "device": "cpu",
        "threads": 1,
    }


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """`attempt(config, *options)`: run the engine here; its exit code and attempt directory."""
    from engine.attempt import attempt_run
    from evaluation.engine import work

    directory = tmp_path / "job"

    def run(config: dict[str, Any], *options: str) -> tuple[int, Path]:
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        number = options[options.index("--attempt") + 1] if "--attempt" in options else "0"
        code = attempt_run("evaluation", work, [str(directory), *options])
        return code, directory / "attempts" / number

    return run


@pytest.fixture
def task_make(tmp_path: Path) -> Any:
    """`task_make(name, docs, **fields)`: an lm-eval task on these documents."""
    from lm_eval.tasks import TaskManager

    def make(name: str, docs: list[dict[str, Any]], **fields: Any) -> Any:
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
        config = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {"test": str(data)},
                "cache_dir": str(tmp_path / "cache"),
            },
            "test_split": "test",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{target}}",
            "num_fewshot": 0,
            **fields,
        }
        return TaskManager(include_defaults=False).load([config])["tasks"][name]

    return make
