"""Uploading and reading for the tests of data sets."""

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files import File

from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch
from ftportal.datasets.reading import reading_finish
from ftportal.datasets.services import batch_upload
from tests.ftportal.house import engine_run

GOOD_LINE = json.dumps(
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
)


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def talk(number: int, **more: Any) -> dict[str, Any]:
    """A conversation that is not held out for any number below 12."""
    answer = {"role": "assistant", "content": f"answer {number}"}
    return {"messages": [{"role": "user", "content": f"question {number}"}, answer], **more}


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
