"""A house with furniture for tests of the upper floors: rows and small real files, no engine."""

import hashlib
import io
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.db import transaction

from corpus.ingestion.engine import main as ingestion_main
from engine.events import Metric
from engine.manifest import manifest_write
from evaluation.judging.rule import Rule
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import Batch, PromptSet
from ftportal.datasets.reading import reading_finish
from ftportal.datasets.services import batch_upload, prompt_set_create
from ftportal.evaluations.models import Evaluation, Suite, Verdict, VerdictRule
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import kind_of
from ftportal.reviews.generation import generations_store
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.selectors import ballot_next
from ftportal.reviews.services import (
    spot_check_decide,
    spot_check_open,
    spot_checks_start,
    vote_cast,
)
from ftportal.runs.kind import run_events
from ftportal.runs.models import Run

_numbers = count(1)
GROUPS = ("code", "filesystem", "conversation")


def checkpoint_make(
    model: LanguageModel, name: str, parent: Checkpoint | None = None, run_by: User | None = None
) -> Checkpoint:
    """A checkpoint with one small file and its manifest; `run_by` also makes the run behind it."""
    directory = Path(settings.FTPORTAL_DATA) / "checkpoints" / f"made-{next(_numbers)}"
    directory.mkdir(parents=True)
    (directory / "model.safetensors").write_bytes(hashlib.sha256(name.encode()).digest())
    manifest = manifest_write(directory)
    made = Checkpoint.objects.create(
        language_model=model,
        name=name,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        path=str(directory.relative_to(settings.FTPORTAL_DATA)),
        manifest_hash=manifest["sha256"],
        size_bytes=32,
        displacement_pretrained=0.0 if parent is None else 1.25,
    )
    if run_by is not None and parent is not None:
        Run.objects.create(
            name=f"Run of {name}",
            parent=parent,
            output=made,
            job=job_make("train", JobState.SUCCEEDED),
            recipe={"method": {"name": "apollo", "rank": 256}, "learning_rate": 1e-5, "epochs": 1},
            submitter=run_by,
        )
    return made


def model_make(name: str = "Small") -> LanguageModel:
    """A language model with its pre-trained checkpoint, in one transaction as in real life."""
    with transaction.atomic():
        model = LanguageModel.objects.create(name=name, source="made", parameter_count=1)
        checkpoint_make(model, f"{name}, pre-trained")
    return model


def batch_make(
    model: LanguageModel, name: str, *, count: int = 24, kind: str = "conversation", **choices: Any
) -> Batch:
    """A batch of so many conversations, uploaded and read by the real engine in this process."""
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"{name}, question {number}"},
                {"role": "assistant", "content": f"answer {number} of {name}"},
            ]
        }
        for number in range(1, count + 1)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    batch = batch_upload(
        uploaded_by=User.objects.get_or_create(username="uploader")[0],
        language_model=model,
        name=name,
        kind=kind,
        file=File(io.BytesIO(content), name="talks.jsonl"),
        **{"decision_rule": "last", **choices},
    )
    reading_finish(engine_run(batch))
    batch.refresh_from_db()
    return batch


def engine_run(batch: Batch) -> Job:
    """Read a batch by the real engine in this process; the job is done, its follow-up is not."""
    job = Job.objects.get(batch=batch)
    job.directory.mkdir(parents=True, exist_ok=True)
    config = kind_of(job.kind).config(job)
    (job.directory / "config.json").write_text(json.dumps(config))
    job.fence += 1
    job.state = JobState.SUCCEEDED
    assert ingestion_main([str(job.directory), "--attempt", str(job.fence)]) == 0
    job.save()
    return job


def job_make(kind: str, state: str = JobState.QUEUED) -> Job:
    """A job as if it had got so far."""
    return Job.objects.create(kind=kind, title=f"a job to {kind}", state=state)


def measure(run: Run, points: Mapping[int, float | None], name: str = "loss_nats") -> None:
    """What a run measured of one metric, step -> value, as its engine would report it."""
    run_events(run.job, [Metric(step=at, values={name: value}) for at, value in points.items()])


def suite_make(name: str = "Quick", *, is_default: bool = True) -> Suite:
    """A suite; the same one again for the same name."""
    rule, _ = VerdictRule.objects.get_or_create(
        name="Standard", version=1, defaults={"rule": Rule().to_json()}
    )
    suite, _ = Suite.objects.get_or_create(
        name=name,
        defaults={
            "benchmarks": [],
            "settings": {"dtype": "float32"},
            "content_hash": hashlib.sha256(name.encode()).hexdigest(),
            "rule": rule,
            "is_default": is_default,
        },
    )
    return suite


def evaluation_make(checkpoint: Checkpoint, suite: Suite | None = None) -> Evaluation:
    """A finished evaluation; the same one again for the same pair."""
    suite = suite or suite_make()
    result = Evaluation.objects.filter(checkpoint=checkpoint, suite=suite).first()
    return result or Evaluation.objects.create(
        checkpoint=checkpoint,
        suite=suite,
        job=job_make("evaluate", JobState.SUCCEEDED),
        measured=True,
        judged=True,
    )


def verdict_make(
    candidate: Checkpoint, baseline: Checkpoint, outcome: str = "retained", suite: Any = None
) -> Verdict:
    """A verdict as the evaluations floor writes it; tells nobody."""
    after = evaluation_make(candidate, suite)
    return Verdict.objects.create(
        before=evaluation_make(baseline, suite),
        after=after,
        rule=after.suite.rule,
        outcome=outcome,
        reason=f"{outcome} over 60 items",
        evidence={},
    )


def prompts_make(number: int = 6, *, is_random: bool = False, name: str = "Short set") -> PromptSet:
    """A prompt set with prompts of all three groups in turn."""
    return prompt_set_create(
        name=name,
        kind="pool" if is_random else "curated",
        max_new_tokens=64,
        prompts=[
            {
                "group": GROUPS[index % 3],
                "messages": [{"role": "user", "content": f"Question {index} of {name}?"}],
            }
            for index in range(number)
        ],
    )


def answers_give(spot_check: SpotCheck) -> None:
    """Let both sides answer: what the engine would leave on disk, taken in by the real code."""
    for answers in (spot_check.candidate_answers, spot_check.baseline_answers):
        job = answers.job
        job.output_directory.mkdir(parents=True, exist_ok=True)
        Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED)
        job.refresh_from_db()
        with (job.output_directory / "generations.jsonl").open("w") as file:
            for prompt in answers.prompt_set.prompts.all():
                text = f"<b>answer {answers.pk}</b>\n  to {prompt.position} & more"
                line = {"sha256": prompt.sha256, "text": text, "tokens": 9, "finish_reason": "stop"}
                file.write(json.dumps(line) + "\n")
        generations_store(job)
    spot_checks_start()
    spot_check.refresh_from_db()


def check_make(
    candidate: Checkpoint,
    baseline: Checkpoint,
    *,
    prompts: int = 6,
    submitter: User | None = None,
    votes_an_item: int = 1,
    is_random: bool = False,
) -> SpotCheck:
    """A spot-check that is open for votes."""
    spot_check = spot_check_open(
        candidate=candidate,
        baseline=baseline,
        prompt_set=prompts_make(prompts, is_random=is_random, name=f"Set {next(_numbers)}"),
        submitter=submitter,
        votes_an_item=votes_an_item,
    )
    answers_give(spot_check)
    return spot_check


def votes_give(
    spot_check: SpotCheck, reviewer: User, *, limit: int | None = None, defects: int = 0
) -> int:
    """Judge what waits for a reviewer: the candidate preferred, the first `defects` defective."""
    given = 0
    while limit is None or given < limit:
        ballot = ballot_next(spot_check, reviewer)
        if ballot is None:
            break
        side = (
            "left" if ballot.left.generation_set_id == spot_check.candidate_answers_id else "right"
        )
        marked = {"left": "", "right": ""}
        if given < defects:
            marked[side] = "it makes things up"
        vote_cast(
            item=ballot.item,
            reviewer=reviewer,
            preference=side,
            left_defective=bool(marked["left"]),
            left_reason=marked["left"],
            right_defective=bool(marked["right"]),
            right_reason=marked["right"],
        )
        given += 1
    return given


def approval_make(candidate: Checkpoint, baseline: Checkpoint, reviewer: User) -> SpotCheck:
    """A short spot-check, judged and approved by one reviewer."""
    spot_check = check_make(candidate, baseline, prompts=3)
    votes_give(spot_check, reviewer)
    return spot_check_decide(
        spot_check=spot_check, decided_by=reviewer, approve=True, reason="as good"
    )
