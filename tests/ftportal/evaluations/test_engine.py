"""The real engine measures the tiny model, through the jobs' supervisor."""

from typing import Any

import pytest

from evaluation.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.models import Suite
from ftportal.evaluations.selectors import comparison_rows
from ftportal.evaluations.services import (
    evaluation_request,
    verdict_reach,
    verdict_rule_create,
)
from ftportal.jobs.models import JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now


def test_the_config_says_what_the_suite_pins(suite: Suite, bare_model: Any) -> None:
    anchor = bare_model.pretrained
    evaluation = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    config = engine_config(evaluation.job)
    assert config["model"] == str(anchor.directory)
    assert config["benchmarks"][0] == {"name": "local_code", "source": "local", "limit": 2}
    (held_out,) = config["held_out"]
    assert held_out["max_tokens"] == 64 and held_out["max_documents"] is None
    assert config["window_tokens"] == 64 and config["seed"] == 0


def test_what_the_engine_would_refuse_is_refused_before_it_starts(
    suite: Suite, bare_model: Any
) -> None:
    suite.settings["stride_tokens"] = 64
    suite.save()
    anchor = bare_model.pretrained
    evaluation = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    with pytest.raises(JobRefusedError, match="stride_tokens") as refusal:
        engine_config(evaluation.job)
    assert refusal.value.cure


def test_the_same_weights_measured_twice_never_differ(
    suite: Suite, language_model: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """Two checkpoints with the same weights: an A/A control through engine, import and verdict."""
    verdict_rule_create(name="Test rule", rule=Rule(pooled_margin=0.5, default_margin=0.5))
    suite.refresh_from_db()
    anchor = language_model.pretrained
    twin = Checkpoint.objects.create(
        language_model=language_model,
        parent=anchor,
        depth=1,
        name="Twin",
        path=anchor.path,
        manifest_hash="0" * 64,
        size_bytes=anchor.size_bytes,
    )
    measured = []
    for checkpoint in (anchor, twin):
        evaluation = evaluation_request(checkpoint=checkpoint, suite=suite, created_by=None)
        job = job_run_now(evaluation.job)
        assert job.state == JobState.SUCCEEDED, job.error_message
        evaluation.refresh_from_db()
        assert evaluation.measured, evaluation.problem
        measured.append(evaluation)
    first = measured[0]
    assert first.samples.count() == 4 and first.documents.count() == 4
    assert all(sample.question and sample.answer for sample in first.samples.all())
    assert {score.metric for score in first.scores.all()} >= {
        "perplexity_per_token",
        "bits_per_byte",
    }
    assert first.settings["dtype"] == "float32" and first.settings["versions"]["torch"]
    verdict = verdict_reach(before=first, after=measured[1])
    row = verdict.evidence["pooled"]
    assert (row["lost"], row["gained"], row["difference"]) == (0, 0, 0)
    assert verdict.evidence["perplexities"][0]["ratio"] == 1.0
    cell = comparison_rows([anchor, twin], suite)[-1].cells[1]
    assert cell is not None and cell.difference == 0
