"""A real run: the engine trains the tiny model, and the portal shows and keeps what came out."""

from collections.abc import Callable

import pytest

from ftportal.jobs.models import JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.runs.metrics import metric_names, metric_series
from ftportal.runs.models import Run
from training.manifest import manifest_check


@pytest.mark.django_db(transaction=True)
def test_a_run_trains_and_leaves_a_checkpoint(submit: Callable[..., Run]) -> None:
    run = submit("Monday", learning_rate=1e-2, max_steps=6)
    job = job_run_now(run.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    run = Run.objects.get(pk=run.pk)
    assert run.output is not None
    manifest_check(run.output.directory)
    assert run.output.displacement_pretrained == pytest.approx(run.summary["displacement"])
    steps, losses = metric_series(run, "loss_nats")
    assert steps == [1, 2, 3, 4, 5, 6]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]
    assert "loss_nats/kind/conversation" in metric_names(run)


@pytest.mark.django_db(transaction=True)
def test_a_run_that_diverges_is_marked_and_keeps_its_curve(submit: Callable[..., Run]) -> None:
    run = submit("Monday", learning_rate=1e30, max_steps=8, max_gradient_norm=None)
    job_run_now(run.job)
    run = Run.objects.get(pk=run.pk)
    assert run.state == "diverged"
    assert run.job.error_where.startswith("step")
    assert run.output is None
    steps, losses = metric_series(run, "loss_nats")
    assert steps[0] == 1
    assert losses[0] is not None
