"""The real generate engine, as a child process under the jobs supervisor, on the tiny model."""

from pathlib import Path
from typing import Any

import pytest

from engine.manifest import manifest_write
from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.reviews.models import Generation, SpotCheckState
from ftportal.reviews.selectors import ballot_next
from ftportal.reviews.services import spot_check_open
from tests.ftportal.house import prompts_make


@pytest.mark.slow
def test_two_models_answer_and_the_voting_opens(
    language_model: Any, cast: Any, data_dir: Path, transactional_db: None
) -> None:
    from tests.tiny_model import tiny_model_write

    directory = tiny_model_write(data_dir / "checkpoints" / "other", seed=1)
    candidate = Checkpoint.objects.create(
        language_model=language_model,
        name="Another seed",
        parent=language_model.pretrained,
        depth=1,
        path="checkpoints/other",
        manifest_hash=manifest_write(directory)["sha256"],
        size_bytes=1,
    )
    spot_check = spot_check_open(
        candidate=candidate,
        baseline=language_model.pretrained,
        prompt_set=prompts_make(2),
        submitter=cast.tina,
    )
    for answers in (spot_check.candidate_answers, spot_check.baseline_answers):
        job = job_run_now(answers.job)
        assert job.state == JobState.SUCCEEDED, job.error_message
    spot_check.refresh_from_db()
    assert spot_check.state == SpotCheckState.OPEN
    assert Generation.objects.count() == 4
    ballot = ballot_next(spot_check, cast.rob)
    assert ballot is not None
    assert {ballot.left.generation_set, ballot.right.generation_set} == {
        spot_check.candidate_answers,
        spot_check.baseline_answers,
    }
    assert all(1 <= len(one.text) <= 64 for one in Generation.objects.all())  # bytes here
