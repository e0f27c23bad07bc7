"""A batch whose worker is killed while its file is read, and again while its tokens are counted."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files import File

from ftportal.accounts.models import User
from ftportal.checkpoints.services import language_model_register
from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.services import batch_upload
from ftportal.jobs.models import Job, JobState
from tests.event_log import logged_events
from tests.ftportal.jobs.processes import (
    Portal,
    engine_of,
    fresh,
    is_alive,
    swept,
    wait_for,
)

COUNT = 60_000
LOST_SECONDS_MAX = 10.0


def content() -> bytes:
    """Lines with a field of metadata, which take the reader's slow way."""
    lines = (
        {
            "id": number,
            "messages": [
                {"role": "user", "content": f"question {number}: " + "and so on " * 12},
                {"role": "assistant", "content": f"answer {number}"},
            ],
        }
        for number in range(COUNT)
    )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def killed_in(portal: Portal, job: Job, worker: Any) -> float:
    """Kill the worker once the job's engine has saved; return the seconds of work that are lost."""
    wait_for(lambda: fresh(job).resume_state or fresh(job).has_ended, seconds=60)
    assert fresh(job).is_live, "it ended before it was killed"
    engine = engine_of(job)
    portal.kill(worker)
    wait_for(lambda: not is_alive(engine), seconds=5, why="the engine's death with its worker")
    events = logged_events(job.directory / f"attempts/{fresh(job).fence}/events.jsonl")
    saved = [one["time_seconds"] for one in events if one["event"] == "saved"][-1]
    return float(events[-1]["time_seconds"]) - float(saved)


@pytest.mark.slow
def test_a_batch_whose_worker_is_killed_in_either_pass_is_ready_once(
    portal_of: Callable[[str], Portal], tiny_model_directory: Path
) -> None:
    portal = portal_of("ftportal.settings")
    model = language_model_register(
        name="Tiny",
        source="made here",
        note="",
        licence="Apache-2.0",
        directory=tiny_model_directory,
    )
    batch = batch_upload(
        uploaded_by=User.objects.create(username="tina"),
        language_model=model,
        name="Long",
        kind="conversation",
        decision_rule="last",
        file=File(io.BytesIO(content()), name="long.jsonl"),
    )
    first = portal.worker_start("one", "default")
    reading = Job.objects.get(batch=batch)
    assert killed_in(portal, reading, first) < LOST_SECONDS_MAX

    second = portal.worker_start("two", "default")
    wait_for(swept(reading, fence=2), seconds=15, why="a second attempt at reading")
    wait_for(lambda: fresh(reading).is_settled, seconds=60, why="the end of reading")
    events = logged_events(reading.directory / "attempts/2/events.jsonl")
    first_read = next(one for one in events if one.get("phase") == "reading")
    assert first_read["done"] > 0, "it goes on where it was"
    batch.refresh_from_db()
    assert batch.state == BatchState.COUNTING
    counting = Job.objects.get(batch=batch)
    assert killed_in(portal, counting, second) < LOST_SECONDS_MAX

    portal.worker_start("three", "default")
    wait_for(swept(counting, fence=2), seconds=15, why="a second attempt at counting")
    wait_for(lambda: fresh(counting).is_settled, seconds=90, why="the end of counting")
    batch.refresh_from_db()
    assert fresh(counting).state == JobState.SUCCEEDED, fresh(counting).error_message
    assert (batch.state, batch.example_count) == (BatchState.READY, COUNT)
    with batch.examples_path.open() as file:
        assert [json.loads(line)["line"] for line in file] == list(range(1, COUNT + 1))
    assert Batch.objects.count() == 1 and Job.objects.count() == 2
