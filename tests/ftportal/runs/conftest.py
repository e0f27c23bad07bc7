"""Batches that a run can learn, and runs that have ended."""

import hashlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import Batch, BatchState
from ftportal.jobs.models import JobState
from ftportal.runs.models import Run
from ftportal.runs.services import run_submit


@pytest.fixture
def batch_of(cast: SimpleNamespace, language_model: LanguageModel) -> Callable[..., Batch]:
    """`batch_of("Talks", kind="conversation", examples=8)`: read, with its examples on disk."""

    def make(name: str = "Talks", **changes: Any) -> Batch:
        count = changes.pop("examples", 8)
        fields: dict[str, Any] = {
            "name": name,
            "kind": "conversation",
            "language_model": language_model,
            "state": BatchState.READY,
            "filename": "talks.jsonl",
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "size_bytes": 100,
            "example_count": count,
            "held_out_count": 0,
            "context_token_count": 60 * count,
            "decision_token_count": 80 * count,
            "uploaded_by": cast.tina,
        }
        batch = Batch.objects.create(**{**fields, **changes})
        batch.directory.mkdir(parents=True)
        batch.examples_path.write_text("".join(_example(name, n) for n in range(count)))
        return batch

    return make


def _example(name: str, number: int) -> str:
    turns = [
        {"role": "user", "content": f"{name}, question {number}?"},
        {
            "role": "assistant",
            "content": f"This is answer {number} of {name}. " * 2,
            "train": True,
        },
    ]
    digest = hashlib.sha256(json.dumps(turns).encode()).hexdigest()
    record = {"line": number + 1, "sha256": digest, "held_out": False, "turns": turns}
    return json.dumps(record) + "\n"


@pytest.fixture
def talks(batch_of: Callable[..., Batch]) -> Batch:
    """Eight conversations."""
    return batch_of("Talks")


@pytest.fixture
def general(batch_of: Callable[..., Batch]) -> Batch:
    """Eight general examples."""
    return batch_of("General mix", kind="general")


@pytest.fixture
def parent(language_model: LanguageModel) -> Checkpoint:
    """The tiny model's pre-trained checkpoint."""
    return language_model.pretrained


@pytest.fixture
def tina(client_of: Callable[..., Client], cast: SimpleNamespace) -> Client:
    """The trainer's browser."""
    return client_of(cast.tina)


@pytest.fixture
def otto(client_of: Callable[..., Client], cast: SimpleNamespace) -> Client:
    """Somebody without a role."""
    return client_of(cast.otto)


@pytest.fixture
def form(parent: Checkpoint, talks: Batch, general: Batch) -> dict[str, Any]:
    """A careful run, as the form sends it."""
    return {
        "name": "Monday",
        "parent": parent.pk,
        f"weight_{talks.pk}": "3",
        f"weight_{general.pk}": "1",
        "method": "adamw",
        "learning_rate": "1e-5",
        "epochs": "1",
        "examples_per_step": "1",
        "seed": "0",
        "context_frozen": "on",
        "rank": "",
        "max_steps": "",
        "schedule": "constant",
        "warmup_steps": "0",
        "weight_decay": "0",
        "max_gradient_norm": "1",
        "max_example_tokens": "512",
        "dtype": "float32",
    }


@pytest.fixture
def submit(
    cast: SimpleNamespace, parent: Checkpoint, talks: Batch, general: Batch
) -> Callable[..., Run]:
    """`submit(learning_rate=1e-4)`: a queued run of Tina's on both batches; recipe fields."""

    def run(name: str = "Session", **recipe: Any) -> Run:
        mixture = recipe.pop("mixture", [(talks, 3.0), (general, 1.0)])
        return run_submit(
            submitter=cast.tina,
            name=name,
            parent=recipe.pop("parent", parent),
            probe_set=recipe.pop("probe_set", None),
            mixture=mixture,
            recipe={"method": {"name": "adamw"}, "max_steps": 4, **recipe},
        )

    return run


@pytest.fixture
def ended(submit: Callable[..., Run]) -> Callable[..., Run]:
    """`ended("failed", exit_code=3)`: a run whose job has ended so."""

    def run(state: str, **changes: Any) -> Run:
        result = submit(changes.pop("name", "Session"))
        job = result.job
        job.state, job.finish_handled = JobState(state), True
        for field, value in changes.items():
            setattr(job, field, value)
        job.save()
        return result

    return run
