"""Scoring a batch through the portal: asked for once, shown from both ends, and left out by."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from corpus.scored import decisions_write, histogram_of
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now
from ftportal.learnability.kind import checkpoint_needed, score_config, score_sweep
from ftportal.learnability.models import Learnability
from ftportal.learnability.selectors import ScoredDecisions, scores_of
from ftportal.learnability.services import (
    LearnabilityError,
    examples_leave_out,
    learnability_finish,
    learnability_request,
)
from tests.ftportal.house import batch_make, checkpoint_make, model_make

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(language_model: Any) -> Batch:
    return batch_make(language_model, "Talks", count=12)


@pytest.fixture
def asked(batch: Batch, language_model: Any, cast: SimpleNamespace) -> Learnability:
    return learnability_request(
        batch=batch, checkpoint=language_model.pretrained, created_by=cast.tina
    )


def scored(asked: Learnability, means: list[float]) -> Learnability:
    """What the engine leaves for one decision an example, taken over by the portal."""
    output = asked.job.output_directory
    output.mkdir(parents=True)
    offset, rows = 0, []
    lines = asked.batch.examples_path.read_bytes().splitlines(keepends=True)
    for number, (line, mean) in enumerate(zip(lines, means, strict=False)):
        rows.append((offset, number, 0, 4, mean))
        offset += len(line)
    decisions_write(output / "decisions.npy", rows)
    import numpy as np

    table = np.load(output / "decisions.npy")
    summary = {"histogram": histogram_of(table), "too_long_count": 1, "max_tokens": 4096}
    (output / "summary.json").write_text(json.dumps(summary))
    Job.objects.filter(pk=asked.job_id).update(state=JobState.SUCCEEDED, finish_handled=True)
    score_sweep()
    asked.refresh_from_db()
    return asked


MEANS = [-0.01, -5.0, -1.0, -0.02, -2.0, -8.5, -1.5, -0.5, -0.01, -3.0, -1.2, -0.03]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_engine_scores_a_batch_through_the_supervisor(
    batch: Batch, language_model: Any, cast: SimpleNamespace, client_of: Any
) -> None:
    asked = learnability_request(
        batch=batch, checkpoint=language_model.pretrained, created_by=cast.tina
    )
    job = job_run_now(asked.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    asked.refresh_from_db()
    assert asked.measured
    assert asked.summary["decision_count"] == len(ScoredDecisions(asked)) == 12
    page = client_of(cast.tina).get(reverse("learnability:decisions", args=[batch.pk]))
    assert "answer 7 of Talks" in page.content.decode()


def test_nothing_is_scored_twice_and_what_failed_goes_on(
    asked: Learnability, batch: Batch, language_model: Any, cast: SimpleNamespace
) -> None:
    def ask() -> Learnability:
        return learnability_request(
            batch=batch, checkpoint=language_model.pretrained, created_by=cast.tina
        )

    assert ask() == asked
    Job.objects.filter(pk=asked.job_id).update(state=JobState.FAILED)
    assert ask().job.state == JobState.QUEUED
    assert Learnability.objects.count() == 1


def test_both_ends_of_the_list_and_the_counts(asked: Learnability) -> None:
    shown = scored(asked, MEANS)
    scores = scores_of(shown)
    assert scores is not None
    assert (scores.count, scores.unlikely, scores.likely) == (12, 2, 4)
    lines = [json.loads(line) for line in shown.batch.examples_path.open()]
    first = ScoredDecisions(shown)[:2]
    assert [one.mean_nats for one in first] == [-8.5, -5.0]
    assert [one.text for one in first] == [lines[at]["turns"][-1]["content"] for at in (5, 1)]
    assert ScoredDecisions(shown, likeliest_first=True)[0].mean_nats == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("limits", "left"), [({"below": -4.0}, {1, 5}), ({"above": -0.05}, {0, 3, 8, 11})]
)
def test_examples_beyond_a_limit_are_left_out_in_a_new_version(
    asked: Learnability, cast: SimpleNamespace, limits: dict[str, float], left: set[int]
) -> None:
    shown = scored(asked, MEANS)
    lines = [json.loads(line) for line in shown.batch.examples_path.open()]
    made = examples_leave_out(
        learnability=shown, made_by=cast.tina, reason="nothing to learn", **limits
    )
    assert made.version == 2
    assert made.options["leave_out"] == {
        lines[at]["sha256"]: "nothing to learn" for at in sorted(left)
    }


@pytest.mark.parametrize(
    ("limits", "message"),
    [({}, "No limit"), ({"below": -50.0}, "No example"), ({"above": -50.0}, "Every example")],
)
def test_a_limit_that_leaves_out_nothing_or_all_is_refused(
    asked: Learnability, cast: SimpleNamespace, limits: dict[str, float], message: str
) -> None:
    shown = scored(asked, MEANS)
    with pytest.raises(LearnabilityError, match=message):
        examples_leave_out(learnability=shown, made_by=cast.tina, reason="why", **limits)
    assert Batch.objects.count() == 1


def test_what_cannot_be_scored_is_said(
    batch: Batch, language_model: Any, cast: SimpleNamespace
) -> None:
    other = model_make("Other")
    with pytest.raises(LearnabilityError, match="was counted for"):
        learnability_request(batch=batch, checkpoint=other.pretrained, created_by=cast.tina)
    gone = checkpoint_make(language_model, "Gone", language_model.pretrained)
    Checkpoint.objects.filter(pk=gone.pk).update(deleted_at=timezone.now())
    with pytest.raises(LearnabilityError, match="were deleted"):
        learnability_request(batch=batch, checkpoint=gone, created_by=cast.tina)
    Batch.objects.filter(pk=batch.pk).update(state="counting")
    batch.refresh_from_db()
    with pytest.raises(LearnabilityError, match="no examples to score"):
        learnability_request(
            batch=batch, checkpoint=language_model.pretrained, created_by=cast.tina
        )


def test_the_checkpoint_stays_while_a_batch_is_scored_under_it(asked: Learnability) -> None:
    assert "Talks is being scored under it" in str(checkpoint_needed(asked.checkpoint))
    job = asked.job
    asked.batch.delete()
    with pytest.raises(JobRefusedError):
        score_config(job)
    learnability_finish(job)
    assert checkpoint_needed(asked.checkpoint) is None


def test_the_panel_offers_shows_progress_and_shows_scores(
    batch: Batch, language_model: Any, cast: SimpleNamespace, client_of: Any
) -> None:
    tina, otto = client_of(cast.tina), client_of(cast.otto)
    panel = reverse("learnability:panel", args=[batch.pk])
    assert "Score every decision" in tina.get(panel).content.decode()
    assert "Score every decision" not in otto.get(panel).content.decode()
    score = reverse("learnability:score", args=[batch.pk])
    assert otto.post(score, {"checkpoint": language_model.pretrained.pk}).status_code == 403
    tina.post(score, {"checkpoint": language_model.pretrained.pk})
    assert "Waiting" in tina.get(panel).content.decode()
    shown = scored(Learnability.objects.get(), MEANS)
    text = tina.get(panel).content.decode()
    assert "2 of 12 decisions are very unlikely, 4 very likely" in " ".join(text.split())
    assert "1 example was longer than 4,096 tokens" in " ".join(text.split())
    leave_out = reverse("learnability:leave_out", args=[shown.pk])
    fields = {"side": "below", "limit": "x", "reason": "broken"}
    assert otto.post(leave_out, fields).status_code == 403
    page = tina.post(leave_out, fields, follow=True).content.decode()
    assert "The limit is not a number" in page
    made = tina.post(leave_out, fields | {"limit": "-4"})
    assert made.url == reverse("datasets:batch", args=[Batch.objects.latest("pk").pk])
