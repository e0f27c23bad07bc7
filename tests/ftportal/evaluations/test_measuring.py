"""Asking for measurements and storing what the engine leaves."""

from collections.abc import Callable
from typing import Any

import pytest

from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.services import (
    EvaluationError,
    checkpoint_measure,
    evaluation_finish,
    evaluation_request,
)
from ftportal.evaluations.signals import evaluation_measured
from ftportal.jobs.models import Job, JobState
from tests.ftportal.evaluations.known import (
    copy_of,
    output_write,
    sample_lines,
)

SMALL = {"local_code": "1101", "local_language": "1011"}


def test_nothing_is_measured_twice(suite: Suite, bare_model: Any, cast: Any) -> None:
    ask = {"checkpoint": bare_model.pretrained, "created_by": cast.tina}
    first = evaluation_request(suite=suite, **ask)
    assert first.job.kind == "evaluate" and first.job.queue == "evaluate"
    assert evaluation_request(suite=suite, **ask) == first
    assert evaluation_request(suite=copy_of(suite), **ask) == first
    assert Job.objects.count() == 1


def test_a_failed_one_can_be_asked_for_again(suite: Suite, bare_model: Any) -> None:
    ask = {"checkpoint": bare_model.pretrained, "suite": suite, "created_by": None}
    first = evaluation_request(**ask)
    Job.objects.update(state=JobState.FAILED, error_message="out of memory")
    again = evaluation_request(**ask)
    assert again == first and again.job.state == JobState.QUEUED
    assert again.job.error_message == "" and Job.objects.count() == 1


def test_a_deleted_checkpoint_is_not_measured(suite: Suite, bare_model: Any) -> None:
    from django.utils import timezone

    anchor = bare_model.pretrained
    anchor.deleted_at = timezone.now()
    anchor.save()
    with pytest.raises(EvaluationError, match="were deleted"):
        evaluation_request(checkpoint=anchor, suite=suite, created_by=None)


def test_an_import_is_idempotent_and_goes_on_where_it_was_cut_off(
    suite: Suite, bare_model: Any, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftportal.evaluations.services import storing

    monkeypatch.setattr(storing, "CHUNK_ROWS", 3)
    evaluation = measured(bare_model.pretrained, SMALL)
    assert evaluation.measured and evaluation.settings["attention"] == "sdpa"
    # As after a crash in the middle: some rows are there, the mark is not.
    evaluation.samples.filter(
        pk__in=list(evaluation.samples.values_list("pk", flat=True)[3:])
    ).delete()
    Evaluation.objects.update(measured=False)
    evaluation_finish(evaluation.job)
    evaluation_finish(evaluation.job)
    evaluation.refresh_from_db()
    assert evaluation.measured
    assert evaluation.samples.count() == 8 and evaluation.documents.count() == 4
    assert evaluation.scores.count() == 2


def test_nothing_is_imported_before_the_job_has_succeeded(suite: Suite, bare_model: Any) -> None:
    anchor = bare_model.pretrained
    evaluation = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    Job.objects.update(state=JobState.FAILED)
    evaluation.job.refresh_from_db()
    evaluation_finish(evaluation.job)
    evaluation.refresh_from_db()
    assert not evaluation.measured and not evaluation.problem


def test_output_that_cannot_be_used_says_so_and_can_be_measured_again(
    suite: Suite, bare_model: Any
) -> None:
    ask = {"checkpoint": bare_model.pretrained, "suite": suite, "created_by": None}
    evaluation = evaluation_request(**ask)
    lines = sample_lines(SMALL)
    lines.append(lines[0])
    output_write(evaluation.job, lines, [])
    evaluation_finish(evaluation.job)
    evaluation.refresh_from_db()
    assert not evaluation.measured
    assert "9 samples were measured but 8 are different" in evaluation.problem
    again = evaluation_request(**ask)
    assert again.pk == evaluation.pk and again.job_id != evaluation.job_id
    assert again.problem == "" and again.samples.count() == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("samples.jsonl", "{torn", "samples.jsonl, line 1 is not JSON"),
        ("samples.jsonl", '{"benchmark": "local_code"}\n', "samples.jsonl, line 1: doc_hash"),
        ("scores.json", "[]", "scores.json"),
        ("documents.jsonl", '{"held_out_key": "unknown"}\n', "documents.jsonl, line 1"),
    ],
)
def test_each_kind_of_broken_output_is_named(
    suite: Suite, bare_model: Any, name: str, text: str, message: str
) -> None:
    anchor = bare_model.pretrained
    evaluation = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    output_write(evaluation.job, sample_lines(SMALL), [])
    (evaluation.job.output_directory / name).write_text(text)
    evaluation_finish(evaluation.job)
    evaluation.refresh_from_db()
    assert not evaluation.measured and message in evaluation.problem


def test_measuring_a_checkpoint_measures_what_it_is_compared_with(
    suite: Suite, bare_model: Any, child_of: Any
) -> None:
    parent = child_of(bare_model.pretrained, "parent")
    child = child_of(parent, "child")
    ask = {"checkpoint": child, "suite": suite, "created_by": None}
    asked = checkpoint_measure(**ask)
    names = [one.checkpoint.name for one in asked]
    assert names == ["Bare, pre-trained", "parent", "child"]
    Job.objects.update(state=JobState.FAILED)
    checkpoint_measure(**ask)
    assert not Job.objects.filter(state=JobState.QUEUED).exists()
    checkpoint_measure(**ask, again=True)
    assert Job.objects.filter(state=JobState.QUEUED).count() == 3


def test_a_measurement_is_announced_once(
    bare_model: Any,
    measured: Callable[..., Evaluation],
    django_capture_on_commit_callbacks: Any,
) -> None:
    heard: list[Evaluation] = []

    def hear(evaluation: Evaluation, **_: Any) -> None:
        heard.append(evaluation)

    evaluation_measured.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            evaluation = measured(bare_model.pretrained, SMALL)
            evaluation_finish(evaluation.job)
    finally:
        evaluation_measured.disconnect(hear)
    assert heard == [evaluation] and heard[0].measured
