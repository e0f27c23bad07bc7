"""Prompts that somebody tries by hand on a checkpoint beside the champion."""

import json
from typing import Any

from django.db import transaction

from engine.events import Event, Text
from ftportal.accounts.models import Role, User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import ANSWER_TOKENS
from ftportal.datasets.seals import messages_sha256
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_submit
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.generation import AnswersMissingError, asking_of, storable
from ftportal.reviews.models import Trial, TrialAnswer
from ftportal.reviews.services.allowed import ReviewRefusedError

PROMPT_CHARACTERS = 8000
SETTINGS: dict[str, Any] = {
    "temperature": 0.0,
    "seed": 0,
    "dtype": "float32",
    "batch_size": 1,
    "stream": True,
}
"""Greedy: what a checkpoint answers to a prompt of one's own should be the same tomorrow."""
TRIERS = (Role.TRAINER, Role.REVIEWER, Role.RELEASER)


def trial_check(checkpoint: Checkpoint, user: User) -> None:
    """Raise ReviewRefusedError unless this person may try prompts on the checkpoint now."""
    if not any(user.has_role(role) for role in TRIERS):
        raise ReviewRefusedError(
            "Trying a prompt needs the role trainer, reviewer or releaser.",
            "An administrator can give it.",
        )
    if blindness_of(user).hides_answers(checkpoint.language_model_id):
        raise ReviewRefusedError(
            f"A spot-check of {checkpoint.language_model} waits for votes that may be yours, and "
            "answers by name would tell you whose answers are whose.",
            "Try prompts when its votes are in.",
        )
    if checkpoint.deleted_at is not None:
        raise ReviewRefusedError(f"The files of {checkpoint} were deleted: it answers nothing.")


@transaction.atomic
def trial_ask(*, checkpoint: Checkpoint, prompt: str, actor: User) -> Trial:
    """Ask a checkpoint and the champion one prompt. Raises ReviewRefusedError.

    Kept as evidence; no plan, gate or finding counts it.
    """
    trial_check(checkpoint, actor)
    if not prompt.strip():
        raise ReviewRefusedError("There is no prompt.", "Write one.")
    if len(prompt) > PROMPT_CHARACTERS:
        raise ReviewRefusedError(
            f"The prompt has {len(prompt):,} characters, more than {PROMPT_CHARACTERS:,}.",
            "Shorten it.",
        )
    messages = [{"role": "user", "content": prompt}]
    trial = Trial.objects.create(
        checkpoint=checkpoint,
        messages=messages,
        sha256=messages_sha256(messages),
        asked_by=actor,
    )
    baseline = champion(checkpoint.language_model)
    for one in dict.fromkeys((checkpoint, baseline)):
        job = job_submit(
            kind="generate", title=f"Answer a tried prompt with {one}"[:200], created_by=actor
        )
        TrialAnswer.objects.create(trial=trial, checkpoint=one, job=job)
    record("prompt.tried", checkpoint, after={"sha256": trial.sha256}, actor=actor)
    return trial


def trial_config(answer: TrialAnswer) -> dict[str, Any]:
    """config.json of the job behind one answer."""
    return {
        "action": "generate",
        "model": str(answer.checkpoint.directory),
        "manifest_sha256": answer.checkpoint.manifest_hash,
        "prompts": [{"sha256": answer.trial.sha256, "messages": answer.trial.messages}],
        "device": "auto",
        "threads": None,
        **SETTINGS,
        **asking_of(answer.checkpoint.language_model, ANSWER_TOKENS),
    }


def trial_follow(job: Job, events: list[Event]) -> None:
    """Show what the engine has written of a tried prompt's answer; the last text is the longest."""
    texts = [event.text for event in events if isinstance(event, Text)]
    if texts:
        TrialAnswer.objects.filter(job=job, complete=False).update(text=storable(texts[-1]))


def trial_finish(answer: TrialAnswer) -> None:
    """Store the whole answer once its job has succeeded. Idempotent.

    Raises AnswersMissingError where the engine left none.
    """
    if answer.complete or answer.job.state != JobState.SUCCEEDED:
        return
    path = answer.job.output_directory / "generations.jsonl"
    line = path.read_text(encoding="utf-8").strip()
    if not line:
        raise AnswersMissingError(f"{answer.job} left no answer")
    made = json.loads(line)
    answer.text = storable(made["text"])
    answer.finish_reason = made["finish_reason"] or ""
    answer.token_count = made["tokens"]
    answer.complete = True
    answer.save(update_fields=["text", "finish_reason", "token_count", "complete"])
