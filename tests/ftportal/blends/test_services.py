"""Asking for blends, what comes of them, and what follows."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from engine.events import Done
from engine.manifest import manifest_check, manifest_write
from ftportal.blends.kind import (
    blend_config,
    blend_events,
    blend_finished,
    blend_sweep,
    ends_needed,
)
from ftportal.blends.models import Blend
from ftportal.blends.selectors import blend_of, blend_submitters, blends_of
from ftportal.blends.services import BlendRefusedError, blends_request
from ftportal.blends.signals import blend_succeeded
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import checkpoint_delete, checkpoint_register
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now
from tests.tiny_model import tiny_model_write


@pytest.fixture
def candidate(language_model: Any, tmp_path: Path) -> Checkpoint:
    """A child of the tiny model with other weights."""
    output = tmp_path / "output"
    tiny_model_write(output, seed=5)
    manifest_write(output)
    return checkpoint_register(
        parent=language_model.pretrained,
        name="Reckless",
        directory=output,
        displacement_pretrained=9.0,
    )


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """The blends that were announced; announcing raises while `heard` holds "fail"."""
    blends: list[Any] = []

    def listen(blend: Blend, **_: Any) -> None:
        if "fail" in blends:
            raise OSError("the floor above fails")
        blends.append(blend)

    blend_succeeded.connect(listen, weak=False, dispatch_uid="heard")
    yield blends
    blend_succeeded.disconnect(dispatch_uid="heard")


@pytest.fixture
def finished(candidate: Checkpoint, tiny_model_directory: Path) -> Callable[[], Blend]:
    """`finished()`: the engine has left an output; the portal did nothing."""

    def make() -> Blend:
        (blend,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
        output = blend.job.output_directory
        output.parent.mkdir(parents=True)
        shutil.copytree(tiny_model_directory, output)
        (output / "marker.txt").write_text("a blend")
        manifest_write(output)
        Job.objects.filter(pk=blend.job_id).update(state=JobState.SUCCEEDED)
        blend_events(blend.job, [Done(summary={"displacement_pretrained": 1.5})])
        blend.refresh_from_db()
        return blend

    return make


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_blend_becomes_a_checkpoint_and_is_announced(
    candidate: Checkpoint, cast: SimpleNamespace, heard: list[Any]
) -> None:
    (blend,) = blends_request(candidate=candidate, alphas=[0.25], submitter=cast.tina)
    job = job_run_now(blend.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    blend.refresh_from_db()
    made = blend.result
    assert made is not None and heard == [blend]
    assert (made.name, made.parent, made.depth) == ("Reckless, 25 % blend", candidate.parent, 1)
    manifest_check(made.directory)
    assert made.displacement_pretrained == pytest.approx(blend.summary["displacement"])
    assert blend_of(made) == blend and blend_submitters([made]) == {made.pk: cast.tina}
    assert blend_of(candidate) is None and blend_submitters([candidate]) == {}


def test_each_alpha_is_a_job_of_its_own(candidate: Checkpoint, cast: SimpleNamespace) -> None:
    made = blends_request(candidate=candidate, alphas=[0.75, 0.25, 0.25], submitter=cast.tina)
    assert [one.alpha for one in made] == [0.75, 0.25]
    assert [one.alpha for one in blends_of(candidate)] == [0.25, 0.75]
    assert {one.job.title for one in made} == {
        "Blend Reckless, 25 % blend",
        "Blend Reckless, 75 % blend",
    }
    config = blend_config(made[0].job)
    assert config["alpha"] == 0.75
    assert config["parent"] == config["anchor_model"] != config["candidate"]


def test_nothing_is_made_twice(candidate: Checkpoint) -> None:
    (first,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    (again,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    assert again == first and Job.objects.filter(kind="blend").count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        Blend.objects.create(candidate=candidate, alpha=1.5, job=first.job)


def test_one_that_failed_is_queued_again(candidate: Checkpoint) -> None:
    (blend,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    Job.objects.filter(pk=blend.job_id).update(state=JobState.FAILED, exit_code=1)
    (again,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    assert again.job_id == blend.job_id and again.job.state == JobState.QUEUED


def test_one_whose_files_were_deleted_is_made_again(finished: Callable[[], Blend]) -> None:
    blend = finished()
    blend_finished(blend.job)
    blend.refresh_from_db()
    assert blend.result is not None
    checkpoint_delete(checkpoint=blend.result)
    (again,) = blends_request(candidate=blend.candidate, alphas=[0.5], submitter=None)
    assert again == blend and again.job_id != blend.job_id and again.job.state == JobState.QUEUED


@pytest.mark.parametrize("alphas", [[0.0], [1.0], [0.5, -0.1], [], [n / 10 for n in range(1, 10)]])
def test_alphas_that_are_no_blend_are_refused(candidate: Checkpoint, alphas: list[float]) -> None:
    with pytest.raises(BlendRefusedError):
        blends_request(candidate=candidate, alphas=alphas, submitter=None)
    assert not Blend.objects.exists()


def test_the_anchor_has_nothing_to_go_back_to(language_model: Any) -> None:
    with pytest.raises(BlendRefusedError, match="no parent to go back toward"):
        blends_request(candidate=language_model.pretrained, alphas=[0.5], submitter=None)


def test_deleted_ends_are_refused_when_asked_and_when_started(candidate: Checkpoint) -> None:
    (blend,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    Checkpoint.objects.filter(pk=candidate.parent_id or 0).update(deleted_at=timezone.now())
    with pytest.raises(BlendRefusedError, match="were deleted"):
        blends_request(candidate=candidate, alphas=[0.25], submitter=None)
    with pytest.raises(JobRefusedError, match="files were deleted"):
        blend_config(blend.job)


def test_both_ends_are_needed_while_it_works(candidate: Checkpoint) -> None:
    (blend,) = blends_request(candidate=candidate, alphas=[0.5], submitter=None)
    parent = Checkpoint.objects.get(pk=candidate.parent_id or 0)
    for one in (candidate, parent):
        assert "is being made from it" in str(ends_needed(one))
    Job.objects.filter(pk=blend.job_id).update(state=JobState.SUCCEEDED)
    assert ends_needed(candidate) is None


def test_finishing_is_repeated_after_a_failure_above(
    finished: Callable[[], Blend], heard: list[Any]
) -> None:
    blend = finished()
    heard.append("fail")
    with pytest.raises(OSError, match="floor above"):
        blend_finished(Job.objects.get(pk=blend.job_id))
    blend.refresh_from_db()
    assert blend.result is not None and blend.result.displacement_pretrained == 1.5
    heard.clear()
    blend_finished(Job.objects.get(pk=blend.job_id))
    assert heard == [blend]
    assert Checkpoint.objects.filter(name__contains="blend").count() == 1


def test_the_sweep_finds_a_blend_without_a_checkpoint(
    finished: Callable[[], Blend], heard: list[Any]
) -> None:
    blend = finished()
    Job.objects.filter(pk=blend.job_id).update(finish_handled=True)
    blend_sweep()
    assert heard == [blend]
    blend_sweep()
    assert heard == [blend]


def test_one_that_failed_makes_nothing(finished: Callable[[], Blend]) -> None:
    blend = finished()
    Job.objects.filter(pk=blend.job_id).update(state=JobState.FAILED)
    blend_finished(Job.objects.get(pk=blend.job_id))
    blend.refresh_from_db()
    assert blend.result is None
