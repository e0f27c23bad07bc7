"""What follows what: the floors below announce, this floor measures."""

from typing import Any

import pytest

from ftportal.checkpoints.signals import checkpoint_delete_asked, checkpoint_registered
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.services import evaluation_request, follow_ups_sweep
from ftportal.jobs.models import Job, JobState
from ftportal.runs.models import Run
from ftportal.runs.signals import run_succeeded


@pytest.fixture
def run(bare_model: Any, child_of: Any, cast: Any) -> Run:
    """Tina's run from a parent that is not the anchor, with its checkpoint."""
    parent = child_of(bare_model.pretrained, "parent")
    return Run.objects.create(
        name="Session",
        parent=parent,
        output=child_of(parent, "output"),
        job=Job.objects.create(kind="train", title="Session", state=JobState.SUCCEEDED),
        recipe={},
        submitter=cast.tina,
    )


def names() -> list[str]:
    return list(Evaluation.objects.order_by("pk").values_list("checkpoint__name", flat=True))


def test_a_finished_run_measures_its_checkpoint_its_parent_and_the_anchor(
    suite: Suite, run: Run
) -> None:
    for _ in range(2):
        run_succeeded.send(Run, run=run)
    assert names() == ["Bare, pre-trained", "parent", "output"]
    asked_by = Job.objects.filter(kind="evaluate").values_list("created_by__username", flat=True)
    assert set(asked_by) == {"tina"}


def test_the_sweep_finds_a_run_whose_announcement_was_lost(suite: Suite, run: Run) -> None:
    follow_ups_sweep()
    assert set(names()) == {"Bare, pre-trained", "parent", "output"}


def test_without_a_suite_a_run_is_not_measured(run: Run) -> None:
    run_succeeded.send(Run, run=run)
    follow_ups_sweep()
    assert names() == []


def test_a_new_anchor_is_measured_at_once_and_other_checkpoints_are_not(
    suite: Suite, bare_model: Any, child_of: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    checkpoint_registered.send(type(child), checkpoint=child)
    assert names() == []
    checkpoint_registered.send(type(child), checkpoint=bare_model.pretrained)
    assert names() == ["Bare, pre-trained"]


def test_weights_stay_while_they_are_measured(suite: Suite, bare_model: Any) -> None:
    anchor = bare_model.pretrained

    def objections() -> list[str]:
        answers = checkpoint_delete_asked.send(type(anchor), checkpoint=anchor)
        return [answer for _, answer in answers if answer and "measured" in answer]

    assert objections() == []
    evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    assert objections() == ["Bare, pre-trained is being measured by Test suite."]
    Job.objects.update(state=JobState.CANCELLED)
    assert objections() == []


def test_a_sweep_does_not_try_a_failed_measurement_for_ever(suite: Suite, bare_model: Any) -> None:
    follow_ups_sweep()
    Job.objects.update(state=JobState.FAILED)
    follow_ups_sweep()
    assert not Job.objects.filter(state=JobState.QUEUED).exists()
