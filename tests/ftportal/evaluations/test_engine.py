"""The real engine measures the tiny model, through the jobs' supervisor."""

from typing import Any

import pytest

from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.models import Suite
from ftportal.evaluations.selectors import noise_floor
from ftportal.evaluations.services import evaluation_repeat, evaluation_request
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


@pytest.mark.slow
def test_the_same_checkpoint_measured_twice_never_differs(
    suite: Suite, language_model: Any
) -> None:
    """An A/A control through engine, import and comparison."""
    anchor = language_model.pretrained
    first = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    for evaluation in (first, None):
        repeat = evaluation or evaluation_repeat(evaluation=first, created_by=None)
        job = job_run_now(repeat.job)
        assert job.state == JobState.SUCCEEDED, job.error_message
        first.refresh_from_db()
        assert first.measured, first.problem
    assert first.samples.count() == 4 and first.documents.count() == 4
    assert all(sample.question and sample.answer for sample in first.samples.all())
    assert {score.metric for score in first.scores.all()} >= {
        "perplexity_per_token",
        "bits_per_byte",
    }
    assert first.settings["dtype"] == "float32" and first.settings["versions"]["torch"]
    noise = noise_floor(suite, language_model)
    assert noise is not None and noise.checkpoint == anchor
    assert (noise.n, noise.lost, noise.gained, noise.problem) == (4, 0, 0, "")
    assert [one.change_percent for one in noise.texts] == [0.0]
    assert noise.repeat.samples.count() == 4  # both are kept


def test_files_that_were_exchanged_are_never_measured_under_the_old_hash(
    suite: Suite, language_model: Any
) -> None:
    anchor = language_model.pretrained
    evaluation = evaluation_request(checkpoint=anchor, suite=suite, created_by=None)
    weights = anchor.directory / "model.safetensors"
    kept = weights.read_bytes()
    changed = bytearray(kept)
    changed[-1] ^= 1
    try:
        weights.write_bytes(changed)
        job = job_run_now(evaluation.job)
    finally:
        weights.write_bytes(kept)
    assert (job.state, job.error_where) == (JobState.FAILED, "model")
    assert "model.safetensors was changed" in job.error_message
    evaluation.refresh_from_db()
    assert not evaluation.measured and not evaluation.samples.exists()
