"""A model that can be exported, with a checkpoint that a session made of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.manifest import manifest_write
from tests.ftportal.house import batch_make, job_make
from tests.serving_model import serving_model_write


@pytest.fixture(scope="session")
def serving_directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a small model, and of the same with other weights."""
    folder = tmp_path_factory.mktemp("serving")
    first, second = (serving_model_write(folder / f"model-{n}", seed=n) for n in (0, 1))
    return first, second


@pytest.fixture
def served(
    cast: SimpleNamespace,
    data_dir: Path,
    tmp_path: Path,
    serving_directories: tuple[Path, Path],
    django_capture_on_commit_callbacks: Any,
) -> SimpleNamespace:
    """`served.model`, its `anchor`, and `child` of Tina's run on two batches."""
    import shutil

    from ftportal.checkpoints.services import checkpoint_register, language_model_register
    from ftportal.jobs.models import JobState
    from ftportal.runs.models import Run, RunBatch

    with django_capture_on_commit_callbacks(execute=True):
        model = language_model_register(
            name="Small / Chat",
            source="PyPI package small 0.1 (Makers/Small-Chat)",
            note="de-quantised from 4 bit",
            licence="Apache-2.0",
            directory=serving_directories[0],
        )
    output = tmp_path / "output"
    shutil.copytree(serving_directories[1], output)
    (output / "recipe.json").write_text('{"recipe": {"model": "/somewhere"}}')
    manifest_write(output)
    child = checkpoint_register(
        parent=model.pretrained,
        name="Evening session: #1",
        directory=output,
        displacement_pretrained=1.5,
    )
    run = Run.objects.create(
        name="Evening session",
        parent=model.pretrained,
        output=child,
        job=job_make("train", JobState.SUCCEEDED),
        recipe={"method": {"name": "apollo", "rank": 8}, "learning_rate": 1e-5, "epochs": 1},
        submitter=cast.tina,
    )
    batches = [batch_make(model, name, count=24) for name in ("Talks", "Pipe | and *star*")]
    for batch, weight in zip(batches, (3.0, 1.0), strict=True):
        RunBatch.objects.create(run=run, batch=batch, weight=weight)
    return SimpleNamespace(
        model=model, anchor=model.pretrained, child=child, run=run, batches=batches
    )
