"""Submitting, stopping, resuming: what is accepted, and what each refusal says."""

import json
import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.services import delete_objections
from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError, kind_of
from ftportal.runs.kind import run_config
from ftportal.runs.models import Run
from ftportal.runs.services import RunRefusedError, run_resume, run_stop, run_submit
from training.config import RunConfig

pytestmark = pytest.mark.django_db


def _refusal(submit: Callable[..., Run], *args: Any, **kwargs: Any) -> dict[str, str]:
    """The problems of a refused submit by field; nothing was made."""
    before = (Run.objects.count(), Job.objects.count())
    with pytest.raises(RunRefusedError) as refused:
        submit(*args, **kwargs)
    assert (Run.objects.count(), Job.objects.count()) == before
    return {problem.field: str(problem) for problem in refused.value.problems}


def test_it_queues_a_run_with_its_whole_recipe(submit: Callable[..., Run]) -> None:
    run = submit(learning_rate=2e-5)
    assert run.job.state == JobState.QUEUED
    assert run.job.kind == "train"
    assert run.recipe["learning_rate"] == 2e-5
    assert run.recipe["seed"] == 0, "defaults are written down too"
    assert "model" not in run.recipe
    assert run.forecast["step_count"] == 4
    assert [(part.batch.name, part.weight) for part in run.mixture.all()] == [
        ("Talks", 3.0),
        ("General mix", 1.0),
    ]


def test_the_engine_gets_absolute_paths_and_the_anchor(
    submit: Callable[..., Run], parent: Checkpoint, talks: Batch
) -> None:
    run = submit()
    config = run_config(run.job)
    assert RunConfig.from_json(json.loads(json.dumps(config))).max_steps == 4
    assert config["model"] == config["anchor_model"] == str(parent.directory.resolve())
    assert config["batches"][0]["path"] == str(talks.examples_path.resolve())
    assert config["batches"][0]["key"] == f"b{talks.pk}"


def test_a_taken_name_is_refused_and_a_free_one_proposed(submit: Callable[..., Run]) -> None:
    submit("Monday")
    assert "Monday 2" in _refusal(submit, "Monday")["name"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_a_bad_name_is_refused(submit: Callable[..., Run], name: str) -> None:
    assert set(_refusal(submit, name)) == {"name"}


def test_a_deleted_parent_is_refused(submit: Callable[..., Run], parent: Checkpoint) -> None:
    Checkpoint.objects.filter(pk=parent.pk).update(deleted_at=timezone.now())
    assert "were deleted" in _refusal(submit)["parent"]


def test_a_parent_that_vanished_from_the_disk_is_refused(
    submit: Callable[..., Run], parent: Checkpoint
) -> None:
    shutil.rmtree(parent.directory)
    assert "does not exist" in _refusal(submit)["parent"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("weights.bin", "pickle"), ("config.json", "is not JSON"), ("-tokenizer.json", "missing")],
)
def test_a_parent_that_must_not_be_loaded_is_refused(
    submit: Callable[..., Run], parent: Checkpoint, name: str, words: str
) -> None:
    if name.startswith("-"):
        (parent.directory / name[1:]).unlink()
    else:
        (parent.directory / name).write_bytes(b"x")
    assert words in _refusal(submit)["parent"]


def test_no_batches_are_refused(submit: Callable[..., Run]) -> None:
    assert "No batch" in _refusal(submit, mixture=[])["mixture"]


def test_a_batch_twice_is_refused(submit: Callable[..., Run], talks: Batch) -> None:
    assert "twice" in _refusal(submit, mixture=[(talks, 1.0), (talks, 2.0)])["mixture"]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_that_is_no_share_is_refused(
    submit: Callable[..., Run], talks: Batch, weight: float
) -> None:
    assert set(_refusal(submit, mixture=[(talks, weight)])) == {"mixture"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "reading"}, "not read"),
        ({"state": "refused"}, "was refused"),
        ({"decision_token_count": 0}, "no decision tokens"),
        ({"held_out_count": 8}, "held out"),
    ],
)
def test_a_batch_that_teaches_nothing_is_refused(
    submit: Callable[..., Run], batch_of: Callable[..., Batch], changes: dict[str, Any], words: str
) -> None:
    batch = batch_of("Odd", **changes)
    assert words in _refusal(submit, mixture=[(batch, 1.0)])["mixture"]


def test_a_batch_of_another_model_is_refused(
    submit: Callable[..., Run], batch_of: Callable[..., Batch]
) -> None:
    other = LanguageModel.objects.create(name="Other", source="tests", parameter_count=1)
    batch = batch_of("Foreign", language_model=other)
    assert "not for Tiny" in _refusal(submit, mixture=[(batch, 1.0)])["mixture"]


def test_a_batch_whose_file_is_gone_is_refused(submit: Callable[..., Run], talks: Batch) -> None:
    talks.examples_path.unlink()
    assert "gone" in _refusal(submit, mixture=[(talks, 1.0)])["mixture"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", "abc"),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("seed", -1),
        ("epochs", 0),
        ("epochs", 1.5),
        ("schedule", "wavy"),
        ("dtype", "int4"),
        ("weight_decay", -0.1),
        ("no_such_setting", 1),
        ("model", "/elsewhere"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_field(
    submit: Callable[..., Run], field: str, value: Any
) -> None:
    assert set(_refusal(submit, **{field: value})) == {field}


def test_a_wrong_method_is_refused(submit: Callable[..., Run]) -> None:
    assert set(_refusal(submit, method={"name": "sgd"})) == {"method"}
    assert set(_refusal(submit, method={"name": "adamw", "rank": 8})) == {"rank"}


def test_a_million_epochs_are_refused(submit: Callable[..., Run]) -> None:
    assert "steps" in _refusal(submit, epochs=10**9, max_steps=None)["epochs"]


def test_all_problems_are_told_at_once(
    cast: SimpleNamespace, parent: Checkpoint, talks: Batch
) -> None:
    with pytest.raises(RunRefusedError) as refused:
        run_submit(
            submitter=cast.tina,
            name="",
            parent=parent,
            mixture=[(talks, 1.0)],
            recipe={"learning_rate": 0},
        )
    assert {problem.field for problem in refused.value.problems} == {"name", "learning_rate"}


def test_a_job_whose_batch_vanished_while_it_waited_is_refused(
    submit: Callable[..., Run], talks: Batch
) -> None:
    run = submit()
    talks.examples_path.unlink()
    with pytest.raises(JobRefusedError, match="Talks"):
        kind_of("train").config(run.job)


def test_a_waiting_run_keeps_its_parent(submit: Callable[..., Run], parent: Checkpoint) -> None:
    child = Checkpoint.objects.create(
        language_model=parent.language_model,
        parent=parent,
        depth=1,
        name="Child",
        path=parent.path,
        manifest_hash="c" * 64,
        size_bytes=1,
    )
    run = submit(parent=child)
    assert delete_objections(child) == ["The run Session starts from it."]
    run_stop(run=run)
    assert delete_objections(child) == []


def test_a_waiting_run_is_stopped_at_once_and_resumed(submit: Callable[..., Run]) -> None:
    run = run_stop(run=submit())
    assert run.state == "cancelled"
    assert run.can_resume
    assert run_resume(run=run).job.state == JobState.QUEUED


def test_a_working_run_is_asked_to_stop(ended: Callable[..., Run]) -> None:
    run = run_stop(run=ended("running"))
    assert run.job.stop_requested
    assert run.job.is_live


@pytest.mark.parametrize(
    ("state", "exit_code", "may"),
    [
        ("cancelled", 143, True),
        ("failed", 1, True),
        ("failed", 4, True),
        ("failed", 2, False),
        ("failed", 3, False),
        ("succeeded", 0, False),
        ("running", None, False),
    ],
)
def test_only_what_may_end_otherwise_is_resumed(
    ended: Callable[..., Run], state: str, exit_code: int | None, may: bool
) -> None:
    run = ended(state, exit_code=exit_code)
    if may:
        assert run_resume(run=run).job.state == JobState.QUEUED
    else:
        with pytest.raises(RunRefusedError, match="cannot be resumed"):
            run_resume(run=run)
        assert run.job.state == state


def test_a_run_whose_parent_went_cannot_be_resumed(
    ended: Callable[..., Run], parent: Checkpoint
) -> None:
    run = ended("cancelled")
    shutil.rmtree(parent.directory)
    with pytest.raises(RunRefusedError, match="does not exist"):
        run_resume(run=run)
