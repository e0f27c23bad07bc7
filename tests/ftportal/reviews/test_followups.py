"""A verdict opens a spot-check; what was lost between two floors is swept up."""

from types import SimpleNamespace
from typing import Any

import pytest

from ftportal.checkpoints.services import alias_set, delete_objections
from ftportal.datasets.models import PromptSet
from ftportal.evaluations.models import Verdict
from ftportal.evaluations.signals import verdict_reached
from ftportal.reviews import followups
from ftportal.reviews.models import SpotCheck, SpotCheckState
from tests.ftportal.house import checkpoint_make, prompts_make, verdict_make


@pytest.mark.parametrize("outcome", ["retained", "inconclusive"])
def test_a_verdict_opens_a_spot_check(pair: SimpleNamespace, cast: Any, outcome: str) -> None:
    prompts_make(3)
    verdict = verdict_make(pair.candidate, pair.baseline, outcome)
    verdict_reached.send(Verdict, verdict=verdict)
    verdict_reached.send(Verdict, verdict=verdict)
    spot_check = SpotCheck.objects.get()
    assert spot_check.candidate == pair.candidate
    assert spot_check.baseline == pair.baseline
    assert spot_check.submitter == cast.tina


def test_a_forgotten_one_opens_none(pair: SimpleNamespace) -> None:
    verdict = verdict_make(pair.candidate, pair.baseline, "forgotten")
    verdict_reached.send(Verdict, verdict=verdict)
    followups.sweep()
    assert not SpotCheck.objects.exists()


def test_both_baselines_are_asked(pair: SimpleNamespace) -> None:
    champion = checkpoint_make(pair.model, "Champion", pair.baseline)
    alias_set(language_model=pair.model, name="champion", checkpoint=champion)
    first = verdict_make(pair.candidate, champion)
    verdict_reached.send(Verdict, verdict=first)
    assert not SpotCheck.objects.exists()
    second = verdict_make(pair.candidate, pair.baseline)
    verdict_reached.send(Verdict, verdict=second)
    assert SpotCheck.objects.get().baseline == champion


def test_the_sweep_finds_a_lost_verdict(pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline)
    followups.sweep()
    followups.sweep()
    assert SpotCheck.objects.count() == 1


def test_the_shipped_prompts_are_used_where_there_are_none(pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline)
    followups.sweep()
    assert SpotCheck.objects.get().prompt_set == PromptSet.objects.get()


def test_a_failed_job_leaves_the_spot_check_waiting(pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline)
    followups.sweep()
    spot_check = SpotCheck.objects.get()
    job = spot_check.candidate_answers.job
    job.state = "failed"
    job.save()
    followups.generate_finish(job)
    spot_check.refresh_from_db()
    assert spot_check.state == SpotCheckState.GENERATING


def test_files_stay_while_answers_are_made(pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline)
    followups.sweep()
    other = checkpoint_make(pair.model, "Not in it", pair.baseline)
    said = [delete_objections(one) for one in (pair.candidate, other)]
    assert said[0] == said[1]  # else it would tell which of them is in the check
    assert said[0] == ["Answers for a spot-check of this model are being prepared."]
