"""What the tests of the training engine share: an ingested batch and run directories."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.toys import batch_ingest, conversation, recipe_of


@pytest.fixture(scope="session")
def examples_path(tmp_path_factory: pytest.TempPathFactory, tiny_model_directory: Path) -> Path:
    """Ten ingested conversations of different lengths, with one to three decisions."""
    directory = tmp_path_factory.mktemp("batch") / "ingestion"
    records = [conversation(number, decisions=1 + number % 3) for number in range(10)]
    return batch_ingest(directory, tiny_model_directory, records)


@pytest.fixture
def recipe(tiny_model_directory: Path, examples_path: Path) -> dict[str, Any]:
    """A recipe for the tiny model: ten steps, a state after every fourth."""
    return recipe_of(tiny_model_directory, examples_path)


@pytest.fixture
def run_directory(tmp_path: Path) -> Callable[..., Path]:
    """`run_directory(recipe, **changes)`: a new RUN_DIR with this recipe."""

    def make(recipe: dict[str, Any], **changes: Any) -> Path:
        directory = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps({**recipe, **changes}))
        return directory

    return make
