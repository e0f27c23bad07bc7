"""Batches from upload to ready or refused, by the real reading engine."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.reading import INGEST, reading_finish
from ftportal.datasets.services import DatasetError, batch_delete
from ftportal.datasets.uploads import UploadRefusedError
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_stop
from ftportal.jobs.supervisor import job_run_now
from tests.ftportal.datasets.conftest import GOOD_LINE, conversation_lines
from tests.ftportal.house import engine_run

pytestmark = pytest.mark.django_db
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def _kept(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "batches").iterdir())


def _problems(batch: Batch) -> dict[int, str]:
    assert batch.state == BatchState.REFUSED
    assert not batch.examples_path.exists()
    assert batch.example_count is None
    assert all(problem.cure for problem in batch.problems.all())
    return {problem.line: problem.message for problem in batch.problems.all()}


def test_an_upload_waits_to_be_read(upload: Upload) -> None:
    batch = upload(conversation_lines(2))
    assert batch.state == BatchState.READING
    assert batch.source_path.read_bytes() == conversation_lines(2)
    assert batch.job is not None
    assert (batch.job.kind, batch.job.title) == ("ingest", "Read Talks")


def test_a_good_file_becomes_ready_in_a_real_child_process(upload: Upload) -> None:
    """The one test of this file that starts the engine as jobs does."""
    batch = upload(conversation_lines(24))
    job = job_run_now(Job.objects.get(batch=batch))
    batch.refresh_from_db()
    assert job.state == JobState.SUCCEEDED, job.error_message
    assert batch.state == BatchState.READY
    assert batch.format == "messages"
    assert batch.example_count == 24


def test_a_ready_batch_has_its_counts(ready: Batch) -> None:
    """By hand: a byte is a token; the answer is "answer N" and its end mark."""
    digits = 9 * 1 + 15 * 2
    assert ready.decision_token_count == 24 * (len("answer ") + 1) + digits
    with ready.examples_path.open(encoding="utf-8") as stream:
        examples = [json.loads(line) for line in stream]
    assert len(examples) == ready.example_count == 24
    assert ready.held_out_count == sum(example["held_out"] for example in examples)
    assert ready.problem_count == 0


def test_a_second_follow_up_changes_nothing(upload: Upload) -> None:
    batch = upload(conversation_lines(2))
    job = engine_run(batch)
    reading_finish(job)
    first = Batch.objects.filter(pk=batch.pk).values().get()
    reading_finish(job)
    assert first["state"] == BatchState.READY
    assert Batch.objects.filter(pk=batch.pk).values().get() == first


def test_the_follow_up_may_come_again_after_a_crash(upload: Upload) -> None:
    """The examples were moved, the row was not written."""
    batch = upload(conversation_lines(2))
    job = engine_run(batch)
    (job.output_directory / "examples.jsonl").replace(batch.examples_path)
    reading_finish(job)
    batch.refresh_from_db()
    assert batch.state == BatchState.READY


def test_the_sweep_finds_a_lost_follow_up(upload: Upload) -> None:
    batch = upload(conversation_lines(2))
    engine_run(batch)
    INGEST.sweep()
    batch.refresh_from_db()
    assert batch.state == BatchState.READY


def test_the_sweep_drops_what_a_broken_upload_left(upload: Upload, data_dir: Path) -> None:
    batch = upload(conversation_lines(2))
    old, fresh = (data_dir / "batches" / f"incoming-{name}" for name in ("old", "fresh"))
    old.write_text("half a")
    fresh.write_text("half a")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    os.utime(batch.source_path, (two_days_ago, two_days_ago))
    INGEST.sweep()
    assert not old.exists()
    assert fresh.exists()
    assert batch.source_path.exists()


def test_every_bad_line_is_listed_and_nothing_is_imported(upload: Upload, read: Read) -> None:
    lines = [
        GOOD_LINE,
        '{"note": "no messages"}',
        '{"messages": []}',
        "this is not JSON",
        '{"messages": [{"role": "wizard", "content": "x"}, {"role": "assistant", "content": "y"}]}',
        "[" * 200_000 + "]" * 200_000,
        '{"messages": [{"role": "user", "content": "nobody answers"}]}',
        json.dumps({"prompt": "x" * (5 << 20), "completion": "too long"}),
        GOOD_LINE,
    ]
    batch = read(upload("\n".join(lines).encode()))
    problems = _problems(batch)
    assert sorted(problems) == [2, 3, 4, 5, 6, 7, 8]
    assert batch.problem_count == 7
    assert "not JSON" in problems[4]
    assert "wizard" in problems[5]
    assert "deep" in problems[6]
    assert "decision tokens" in problems[7]
    assert "limit" in problems[8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "caf\xe9", "completion": "x"}\n', "not UTF-8"),
        (b"\n \n", "empty"),
        (b"\x1f\x8b\x08\x00 packed", "package is broken"),
    ],
)
def test_an_unreadable_file_is_one_problem_of_the_whole(
    upload: Upload, read: Read, content: bytes, message: str
) -> None:
    problems = _problems(read(upload(content)))
    assert list(problems) == [0]
    assert message in problems[0]


def test_many_problems_are_counted_but_not_all_kept(upload: Upload, read: Read) -> None:
    batch = read(upload(b"no\n" * 600))
    assert batch.problem_count == 600
    assert batch.problems.count() == 500


def test_an_empty_file_is_refused_at_once(upload: Upload, data_dir: Path) -> None:
    with pytest.raises(UploadRefusedError, match="empty"):
        upload(b"")
    assert not Batch.objects.exists()
    assert not Job.objects.exists()
    assert _kept(data_dir) == []


def test_a_file_above_the_limit_is_refused(upload: Upload, data_dir: Path, settings: Any) -> None:
    settings.FTPORTAL_UPLOAD_LIMIT_BYTES = 2**20
    with pytest.raises(UploadRefusedError, match="larger than the limit"):
        upload(b"x" * (2**20 + 1))
    assert not Batch.objects.exists()
    assert _kept(data_dir) == []


def test_the_same_file_again_is_refused_and_its_batch_named(upload: Upload, data_dir: Path) -> None:
    first = upload(conversation_lines(2))
    with pytest.raises(UploadRefusedError, match="as the batch Talks") as refusal:
        upload(conversation_lines(2), name="Other name")
    assert refusal.value.batch == first
    assert Batch.objects.count() == 1
    assert Job.objects.count() == 1
    assert _kept(data_dir) == [first.directory]


def test_the_same_file_may_come_with_another_rule_or_after_a_refusal(
    upload: Upload, read: Read
) -> None:
    upload(conversation_lines(2))
    upload(conversation_lines(2), decision_rule="all")
    read(upload(b"no JSON"))
    assert upload(b"no JSON").state == BatchState.READING


def test_a_stopped_reading_refuses_the_batch_and_can_be_resumed(upload: Upload, read: Read) -> None:
    batch = upload(conversation_lines(2))
    assert batch.job is not None
    reading_finish(job_stop(job=batch.job))
    batch.refresh_from_db()
    assert _problems(batch) == {0: "Reading was stopped."}
    assert read(batch).state == BatchState.READY
    assert not batch.problems.exists()


def test_a_resumed_reading_yields_to_the_same_file_uploaded_meanwhile(
    upload: Upload, read: Read
) -> None:
    batch = upload(conversation_lines(2))
    assert batch.job is not None
    reading_finish(job_stop(job=batch.job))
    read(upload(conversation_lines(2)))
    assert "uploaded again" in _problems_of_late(read(batch))


def _problems_of_late(batch: Batch) -> str:
    assert batch.state == BatchState.REFUSED
    return batch.problems.get().message


def test_a_failed_engine_refuses_the_batch_with_its_words(upload: Upload) -> None:
    batch = upload(conversation_lines(2))
    job = batch.job
    assert job is not None
    job.state, job.error_where, job.error_message = JobState.FAILED, "files", "No space left"
    job.save()
    reading_finish(job)
    batch.refresh_from_db()
    assert _problems(batch) == {0: "files: No space left"}


def test_an_unused_batch_can_be_deleted_with_its_files(
    ready: Batch, django_capture_on_commit_callbacks: Any
) -> None:
    directory = ready.directory
    with django_capture_on_commit_callbacks(execute=True):
        batch_delete(batch=ready)
    assert not Batch.objects.exists()
    assert not directory.exists()


def test_a_batch_that_is_being_read_stays(upload: Upload) -> None:
    batch = upload(conversation_lines(2))
    with pytest.raises(DatasetError, match="still being read"):
        batch_delete(batch=batch)


def test_a_batch_that_a_run_used_stays(ready: Batch) -> None:
    from ftportal.runs.models import Run, RunBatch

    run = Run.objects.create(
        name="Night",
        parent=ready.language_model.pretrained,
        job=Job.objects.create(kind="train", title="Train Night"),
        recipe={},
    )
    RunBatch.objects.create(run=run, batch=ready, weight=1.0)
    with pytest.raises(DatasetError, match="Night"):
        batch_delete(batch=ready)
    assert ready.examples_path.exists()
