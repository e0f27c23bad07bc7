"""What is kept of sessions: asked for with the evaluation, stored by batch, compared in pairs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.manifest import manifest_write
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, BatchState
from ftportal.evaluations.kind import engine_config, measured_finish
from ftportal.evaluations.models import Retention, Suite
from ftportal.evaluations.selectors import divergence_rows, retention_rows
from ftportal.evaluations.services import (
    checkpoint_measure,
    follow_ups_sweep,
    retention_request,
    suite_create,
)
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now
from ftportal.runs.models import Run, RunBatch
from tests.ftportal.evaluations.known import digest, output_write
from tests.tiny_model import tiny_model_write


def example_lines(name: str, held_out: int, others: int = 4) -> list[dict[str, Any]]:
    return [
        {
            "line": number + 1,
            "sha256": digest(f"{name} {number}"),
            "held_out": number < held_out,
            "turns": [
                {"role": "user", "content": f"{name}, question {number}?"},
                {"role": "assistant", "content": f"Answer {number}.", "train": True},
            ],
        }
        for number in range(held_out + others)
    ]


@pytest.fixture
def batch_of(data_dir: Path) -> Callable[..., Batch]:
    """`batch_of(model, "Talks", held_out=3)`: a batch that sets three examples aside."""

    def make(model: Any, name: str, held_out: int = 3) -> Batch:
        batch = Batch.objects.create(
            name=name,
            kind="conversation",
            language_model=model,
            state=BatchState.READY,
            filename="talks.jsonl",
            sha256=digest(name),
            size_bytes=1,
            example_count=held_out + 4,
            held_out_count=held_out,
        )
        batch.directory.mkdir(parents=True)
        lines = example_lines(name, held_out)
        batch.examples_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return batch

    return make


@pytest.fixture
def session_of(cast: Any) -> Callable[..., Run]:
    """`session_of(output, batch, ...)`: the run that made a checkpoint out of these batches."""

    def make(output: Checkpoint, *batches: Batch) -> Run:
        assert output.parent is not None
        run = Run.objects.create(
            name=f"Session of {output}",
            parent=output.parent,
            output=output,
            job=Job.objects.create(kind="train", title="Session", state=JobState.SUCCEEDED),
            recipe={},
            submitter=cast.tina,
        )
        RunBatch.objects.bulk_create(RunBatch(run=run, batch=one, weight=1) for one in batches)
        return run

    return make


@pytest.fixture
def line(bare_model: Any, child_of: Any, batch_of: Any, session_of: Any) -> Any:
    """anchor -> first (learned Talks) -> second (Code, and General that sets none aside)."""
    anchor = bare_model.pretrained
    first = child_of(anchor, "first")
    second = child_of(first, "second")
    talks, code = batch_of(bare_model, "Talks"), batch_of(bare_model, "Code", held_out=2)
    session_of(first, talks)
    session_of(second, code, batch_of(bare_model, "General", held_out=0))
    return SimpleNamespace(anchor=anchor, first=first, second=second, talks=talks, code=code)


def pairs() -> set[tuple[str, str]]:
    return {(one.checkpoint.name, one.batch.name) for one in Retention.objects.all()}


def retention_lines(batch: Batch, nats: float, tokens: int = 10) -> list[dict[str, Any]]:
    """A row an example; each a little different, so that there is a spread."""
    return [
        {
            "session_key": str(batch.pk),
            "doc_hash": one["sha256"],
            "nll_nats": tokens * nats + 0.01 * place,
            "tokens": tokens,
        }
        for place, one in enumerate(example_lines(batch.name, batch.held_out_count or 0))
        if one["held_out"]
    ]


def done(checkpoint: Checkpoint, *rows: dict[str, Any], **settings: Any) -> None:
    """The engine has measured what a checkpoint kept, all in one job."""
    (key,) = set(Retention.objects.filter(checkpoint=checkpoint).values_list("job", flat=True))
    job = Job.objects.get(pk=key)
    output_write(job, [], [], **settings)
    path = job.output_directory / "retention.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    measured_finish(job)


def test_it_is_asked_for_with_the_evaluation_for_all_that_is_compared(
    suite: Suite, line: Any
) -> None:
    asked = checkpoint_measure(checkpoint=line.second, suite=suite, created_by=None)
    wanted = {
        (name, batch)
        for name in ("Bare, pre-trained", "first", "second")
        for batch in ("Talks", "Code")
    }
    assert pairs() == wanted
    assert Job.objects.filter(kind="evaluate").count() == 3  # along with the evaluations
    sessions = engine_config(asked[-1].job)["sessions"]
    assert [one["name"] for one in sessions] == ["Talks", "Code"]
    assert sessions[0]["path"] == str(line.talks.examples_path)
    checkpoint_measure(checkpoint=line.second, suite=suite, created_by=None)
    assert Job.objects.filter(kind="evaluate").count() == 3  # nothing is measured twice


def test_baselines_that_were_measured_before_get_a_job_for_what_is_missing_alone(
    suite: Suite, line: Any
) -> None:
    checkpoint_measure(checkpoint=line.first, suite=suite, created_by=None)
    assert pairs() == {("Bare, pre-trained", "Talks"), ("first", "Talks")}
    Job.objects.filter(kind="evaluate").update(state=JobState.SUCCEEDED, fence=1)
    Retention.objects.update(measured=True, settings={"dtype": "bfloat16"})
    checkpoint_measure(checkpoint=line.second, suite=suite, created_by=None)
    own = Job.objects.filter(kind="evaluate", evaluation__isnull=True).order_by("created_at")
    assert [one.title for one in own] == [
        "Measure what Bare, pre-trained kept of its sessions",
        "Measure what first kept of its sessions",
    ]
    config = engine_config(own[1])
    assert [one["name"] for one in config["sessions"]] == ["Code"]
    assert "benchmarks" not in config and config["dtype"] == "bfloat16"  # as before


def test_what_failed_is_asked_for_again_only_when_somebody_asks(suite: Suite, line: Any) -> None:
    ask = {"checkpoint": line.first, "suite": suite, "created_by": None}
    retention_request(**ask)
    Job.objects.filter(kind="evaluate").update(state=JobState.FAILED, fence=1)
    assert retention_request(**ask) == []
    follow_ups_sweep()
    assert not Job.objects.filter(
        state=JobState.QUEUED, retention__isnull=False, evaluation__isnull=True
    ).exists()
    assert len(retention_request(**ask, again=True)) == 2


def test_the_sweep_finds_what_nobody_asked_for(suite: Suite, line: Any) -> None:
    follow_ups_sweep()
    assert pairs() >= {("second", "Talks"), ("second", "Code"), ("Bare, pre-trained", "Code")}
    count = Job.objects.count()
    follow_ups_sweep()
    assert Job.objects.count() == count


def test_a_batch_whose_file_is_gone_bars_only_itself(suite: Suite, line: Any) -> None:
    asked = checkpoint_measure(checkpoint=line.second, suite=suite, created_by=None)
    line.talks.examples_path.unlink()
    assert [one["name"] for one in engine_config(asked[-1].job)["sessions"]] == ["Code"]
    gone = Retention.objects.get(checkpoint=line.second, batch=line.talks)
    assert "gone from the disk" in gone.problem
    Retention.objects.filter(batch=line.code).delete()
    with pytest.raises(JobRefusedError, match="gone from the disk"):
        evaluation = asked[0]
        job = evaluation.job
        evaluation.delete()
        engine_config(job)


def test_rows_tell_what_was_learned_and_what_slips_away(suite: Suite, line: Any) -> None:
    retention_request(checkpoint=line.second, suite=suite, created_by=None)
    done(line.anchor, *retention_lines(line.talks, 3.0), *retention_lines(line.code, 2.0))
    done(line.first, *retention_lines(line.talks, 1.0), *retention_lines(line.code, 2.0))
    done(line.second, *retention_lines(line.talks, 1.6), *retention_lines(line.code, 0.5))
    learned, general, earlier = retention_rows(line.second, suite)
    assert (learned.batch, earlier.batch) == (line.code, line.talks)
    assert general.loss_nats is None and "none was set aside" in general.missing
    assert (learned.examples, earlier.examples, earlier.tokens) == (2, 3, 30)
    assert learned.since_learned is None and learned.loss_nats == pytest.approx(0.5, abs=0.01)
    change = learned.since(line.anchor)
    assert change is not None and change.change.loss_word == "better"
    assert change.change.value == pytest.approx(-1.5)
    slip = earlier.since_learned
    assert slip is not None and slip.checkpoint == line.first and slip.change.loss_word == "worse"
    assert slip.change.value == pytest.approx(0.6)
    # Every example moved alike, so nothing is uncertain.
    assert [slip.change.low, slip.change.high] == pytest.approx([0.6, 0.6])
    assert retention_rows(line.anchor, suite) == []


def test_a_single_example_has_no_interval_and_unlike_sides_no_difference(
    suite: Suite, line: Any
) -> None:
    retention_request(checkpoint=line.first, suite=suite, created_by=None)
    done(line.anchor, *retention_lines(line.talks, 3.0)[:1])
    done(line.first, *retention_lines(line.talks, 1.0)[:1])
    (row,) = retention_rows(line.first, suite)
    change = row.since(line.anchor)
    assert change is not None and change.change.low is None and change.change.loss_word == ""
    Retention.objects.filter(checkpoint=line.first).update(settings={"dtype": "bfloat16"})
    change = retention_rows(line.first, suite)[0].since(line.anchor)
    assert change is not None and change.change.value is None
    assert "different dtype" in change.change.why_missing


def test_a_likelihood_that_is_no_number_is_refused(suite: Suite, line: Any) -> None:
    retention_request(checkpoint=line.first, suite=suite, created_by=None)
    broken = retention_lines(line.talks, 3.0)
    broken[1]["nll_nats"] = float("nan")
    done(line.anchor, *broken)
    kept = Retention.objects.get(checkpoint=line.anchor)
    assert not kept.measured and "not a number" in kept.problem
    (row,) = retention_rows(line.first, suite)
    assert row.missing == "Being measured."


def test_the_report_shows_it(suite: Suite, line: Any, client_of: Any, cast: Any) -> None:
    retention_request(checkpoint=line.second, suite=suite, created_by=None)
    done(line.anchor, *retention_lines(line.talks, 3.0), *retention_lines(line.code, 2.0))
    done(line.first, *retention_lines(line.talks, 1.0), *retention_lines(line.code, 2.0))
    done(line.second, *retention_lines(line.talks, 1.6), *retention_lines(line.code, 0.5))
    page = client_of(cast.otto).get(f"/reports/{line.second.pk}/").content.decode()
    assert "Retention by batch" in page
    assert "Slipping" in page and "+0.600" in page
    assert "none was set aside" in page  # General


@pytest.mark.slow
def test_the_engine_measures_it_for_a_checkpoint_and_for_its_anchor(
    rule: Any,
    held_out: Any,
    language_model: Any,
    batch_of: Any,
    session_of: Any,
    tmp_path: Path,
) -> None:
    suite = suite_create(
        name="Texts only",
        description="",
        benchmarks=[],
        held_out_sets=[held_out],
        settings={"max_document_tokens": 64, "window_tokens": 64, "stride_tokens": 32},
        rule=rule,
    )
    other = tiny_model_write(tmp_path / "other", seed=1)
    child = Checkpoint.objects.create(
        language_model=language_model,
        parent=language_model.pretrained,
        depth=1,
        name="Child",
        path=str(other),
        manifest_hash=manifest_write(other)["sha256"],
        size_bytes=1,
    )
    session_of(child, batch_of(language_model, "Talks"))
    asked = checkpoint_measure(checkpoint=child, suite=suite, created_by=None)
    for evaluation in asked:
        job = job_run_now(evaluation.job)
        assert job.state == JobState.SUCCEEDED, job.error_message
    assert all(one.measured for one in Retention.objects.all())
    (row,) = retention_rows(child, suite)
    change = row.since(language_model.pretrained)
    assert row.examples == 3 and change is not None
    assert change.change.value not in (None, 0.0) and change.change.low is not None
    # And how differently the child speaks, on the held-out set and on the session's answers.
    assert divergence_rows(asked[0]) == []
    texts, answers = divergence_rows(asked[1])
    assert (texts.title, texts.texts, answers.title) == ("Test prose", 4, "Talks")
    assert texts.nats > 0 and answers.nats > 0 and answers.is_session
