"""Prompts that are tried by hand: streamed, kept, counted nowhere, and never against blindness."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from engine.events import EventWriter
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.recording import Recorder
from ftportal.jobs.registry import kind_of
from ftportal.promotions.selectors import candidate_of
from ftportal.reviews.models import Trial, TrialAnswer
from ftportal.reviews.services import ReviewRefusedError, trial_ask
from tests.ftportal.house import check_make, votes_give


def test_a_prompt_is_asked_of_both(pair: SimpleNamespace, cast: Any, client_of: Any) -> None:
    client = client_of(cast.tina)
    answer = client.post(
        reverse("reviews:trials", args=[pair.candidate.pk]), {"prompt": "Who are you?"}
    )
    trial = Trial.objects.get()
    assert answer.url == reverse("reviews:trial", args=[trial.pk])
    assert [one.checkpoint for one in trial.answers.all()] == [pair.candidate, pair.baseline]
    config = kind_of("generate").config(trial.answers.all()[0].job)
    assert config["stream"] is True
    assert config["prompts"] == [{"sha256": trial.sha256, "messages": trial.messages}]
    body = client.get(answer.url).content.decode()
    assert "It waits for its turn." in body
    assert 'hx-trigger="every 1s"' in body
    listed = client.get(reverse("reviews:trials", args=[pair.baseline.pk])).content.decode()
    assert "Who are you?" in listed


def test_text_appears_as_it_is_written(pair: SimpleNamespace, cast: Any, client_of: Any) -> None:
    trial = trial_ask(checkpoint=pair.candidate, prompt="Who are you?", actor=cast.tina)
    answer = trial.answers.all()[0]
    job = answer.job
    later = timezone.now() + timedelta(minutes=5)
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, fence=1, lease_until=later)
    job.refresh_from_db()
    attempt = job.attempts.create(fence=1, host="here")
    writer = EventWriter(job.attempt_directory / "events.jsonl")
    recorder = Recorder(job, kind_of("generate"), attempt)
    client, page = client_of(cast.otto), reverse("reviews:trial", args=[trial.pk])
    for text in ("I", "I am a", "I am a model.\x00"):
        writer.text(key=trial.sha256, text=text)
        recorder.record()
        body = client.get(page, headers={"HX-Request": "true"}).content.decode()
        assert text.rstrip("\x00") in body
    writer.close()
    finish(answer, "I am a model of words.")
    finish(trial.answers.all()[1], "So am I.")
    body = client.get(page, headers={"HX-Request": "true"}).content.decode()
    assert "I am a model of words." in body and "So am I." in body
    assert "hx-trigger" not in body


def finish(answer: TrialAnswer, text: str) -> None:
    """Let the engine have left this answer, and the job's follow-up take it in."""
    job = answer.job
    job.refresh_from_db()
    job.state, job.finish_handled = JobState.SUCCEEDED, True
    job.save()
    job.output_directory.mkdir(parents=True)
    line = {"sha256": answer.trial.sha256, "text": text, "tokens": 5, "finish_reason": "stop"}
    (job.output_directory / "generations.jsonl").write_text(json.dumps(line) + "\n")
    for _ in range(2):
        kind_of("generate").on_finish(job)


def test_it_counts_nowhere(pair: SimpleNamespace, cast: Any) -> None:
    before = [(gate.key, gate.state) for gate in candidate_of(pair.candidate).gates]
    for answer in trial_ask(checkpoint=pair.candidate, prompt="Hi", actor=cast.leo).answers.all():
        finish(answer, "Hello")
    assert [(gate.key, gate.state) for gate in candidate_of(pair.candidate).gates] == before


def test_the_champion_answers_alone(pair: SimpleNamespace, cast: Any) -> None:
    trial = trial_ask(checkpoint=pair.baseline, prompt="Hi", actor=cast.tina)
    assert trial.answers.count() == 1


def test_who_may_still_judge_tries_nothing_of_the_model(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    kept = trial_ask(checkpoint=pair.candidate, prompt="Hi", actor=cast.rob)
    check = check_make(pair.candidate, pair.baseline, prompts=2, submitter=cast.tina)
    with pytest.raises(ReviewRefusedError, match="waits for votes that may be yours"):
        trial_ask(checkpoint=pair.baseline, prompt="Hi", actor=cast.rob)
    client, address = client_of(cast.rob), reverse("reviews:trials", args=[pair.baseline.pk])
    body = client.get(address).content.decode()
    assert "waits for votes that may be yours" in body
    assert "<textarea" not in body
    assert client.get(reverse("reviews:trial", args=[kept.pk])).status_code == 403
    assert trial_ask(checkpoint=pair.candidate, prompt="Hi", actor=cast.tina)  # judges nothing
    votes_give(check, cast.rob)
    assert trial_ask(checkpoint=pair.candidate, prompt="Hi", actor=cast.rob)


@pytest.mark.parametrize(
    ("prompt", "words"), [("  ", "There is no prompt"), ("x" * 8001, "more than 8,000")]
)
def test_prompts_that_cannot_be_asked(
    pair: SimpleNamespace, cast: Any, client_of: Any, prompt: str, words: str
) -> None:
    address = reverse("reviews:trials", args=[pair.candidate.pk])
    answer = client_of(cast.tina).post(address, {"prompt": prompt})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Trial.objects.exists()
    assert client_of(cast.otto).post(address, {"prompt": "Hi"}).status_code == 403


@pytest.mark.slow
def test_a_real_engine_streams(
    language_model: Any, cast: Any, data_dir: Path, transactional_db: None
) -> None:
    from ftportal.jobs.supervisor import job_run_now

    trial = trial_ask(checkpoint=language_model.pretrained, prompt="Who are you?", actor=cast.tina)
    answer = trial.answers.get()
    job = job_run_now(answer.job)
    assert job.state == JobState.SUCCEEDED, job.error_message
    answer.refresh_from_db()
    assert answer.complete
    assert answer.text
