"""Uploading and reading for the tests of data sets."""

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files import File

from corpus.ingestion.engine import main
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch
from ftportal.datasets.reading import reading_finish
from ftportal.datasets.services import batch_upload
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import kind_of

GOOD_LINE = json.dumps(
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
)


def conversation_lines(count: int) -> bytes:
    """JSON lines of different conversations: question 1, answer 1, ..."""
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"answer {n}"},
            ]
        }
        for n in range(1, count + 1)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture
def upload(cast: SimpleNamespace, language_model: LanguageModel) -> Callable[..., Batch]:
    """`upload(content)`: a batch as Tina uploads it, not read yet."""

    def run(content: bytes, **changes: Any) -> Batch:
        fields: dict[str, Any] = {
            "uploaded_by": cast.tina,
            "language_model": language_model,
            "name": "Talks",
            "kind": "conversation",
            "decision_rule": "last",
            "file": File(io.BytesIO(content), name="talks.jsonl"),
        }
        return batch_upload(**{**fields, **changes})

    return run


def engine_run(batch: Batch) -> Job:
    """Read a batch by the real engine in this process; the job is done, its follow-up is not."""
    job = Job.objects.get(batch=batch)
    job.directory.mkdir(parents=True, exist_ok=True)
    config = kind_of(job.kind).config(job)
    (job.directory / "config.json").write_text(json.dumps(config))
    job.fence += 1
    job.state = JobState.SUCCEEDED
    assert main([str(job.directory), "--attempt", str(job.fence)]) == 0
    job.save()
    return job


@pytest.fixture
def read() -> Callable[[Batch], Batch]:
    """`read(batch)`: the batch after the engine and the follow-up of its job."""

    def run(batch: Batch) -> Batch:
        reading_finish(engine_run(batch))
        batch.refresh_from_db()
        return batch

    return run


@pytest.fixture
def ready(upload: Callable[..., Batch], read: Callable[[Batch], Batch]) -> Batch:
    """A batch of 24 conversations, read."""
    return read(upload(conversation_lines(24)))
