"""Answers of checkpoints to prompt sets: asked for once under fixed settings, then reused."""

import hashlib
import json
from typing import Any

from django.db import transaction

from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import PromptSet
from ftportal.datasets.seals import is_as_sealed
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.services import job_submit
from ftportal.reviews.models import Generation, GenerationSet

SETTINGS: dict[str, Any] = {
    "temperature": 0.0,
    "seed": 0,
    "dtype": "float32",
    "batch_size": 12,
}
"""How both sides answer; the prompt set says how long at most. Greedy, so that a difference is the
weights' and not the dice's; float32, for the small changes of a careful session vanish when weights
are rounded to bfloat16."""


class AnswersMissingError(Exception):
    """The engine's output lacks the answer to a prompt."""


def generation_set_request(
    *, checkpoint: Checkpoint, prompt_set: PromptSet, created_by: User | None
) -> GenerationSet:
    """The checkpoint's answers to the prompts; a job is submitted where nobody asked before."""
    settings = SETTINGS | {"max_new_tokens": prompt_set.max_new_tokens}
    settings_hash = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        PromptSet.objects.select_for_update().get(pk=prompt_set.pk)
        known = GenerationSet.objects.filter(
            checkpoint=checkpoint, prompt_set=prompt_set, settings_hash=settings_hash
        ).first()
        if known is not None:
            return known
        job = job_submit(
            kind="generate",
            title=f"Answer {prompt_set} with {checkpoint}"[:200],
            created_by=created_by,
        )
        return GenerationSet.objects.create(
            checkpoint=checkpoint,
            prompt_set=prompt_set,
            settings=settings,
            settings_hash=settings_hash,
            job=job,
        )


def generate_config(job: Job) -> dict[str, Any]:
    """config.json of a generate job."""
    wanted = GenerationSet.objects.select_related("checkpoint", "prompt_set").get(job=job)
    prompts = list(wanted.prompt_set.prompts.all())
    changed = next((prompt for prompt in prompts if not is_as_sealed(prompt)), None)
    if changed is not None:
        message = f"Prompt {changed.position} was changed in the database after it was made."
        raise JobRefusedError(f"prompts {wanted.prompt_set}", message, "Upload the set again.")
    return {
        "action": "generate",
        "model": str(wanted.checkpoint.directory),
        "manifest_sha256": wanted.checkpoint.manifest_hash,
        "prompts": [{"sha256": one.sha256, "messages": one.messages} for one in prompts],
        "device": "auto",
        "threads": None,
        **wanted.settings,
    }


def generations_store(job: Job) -> GenerationSet | None:
    """Store what a succeeded generate job left; None where it did not succeed. Idempotent.

    Raises AnswersMissingError where a prompt has no answer.
    """
    if job.state != JobState.SUCCEEDED:
        return None
    wanted = GenerationSet.objects.select_related("prompt_set").get(job=job)
    if wanted.complete:
        return wanted
    path = job.output_directory / "generations.jsonl"
    with path.open(encoding="utf-8") as lines:
        answers = {answer["sha256"]: answer for answer in map(json.loads, lines)}
    prompts = list(wanted.prompt_set.prompts.all())
    missing = sum(prompt.sha256 not in answers for prompt in prompts)
    if missing:
        raise AnswersMissingError(f"{wanted}: {missing} of {len(prompts)} prompts have no answer")
    with transaction.atomic():
        Generation.objects.bulk_create(
            [
                Generation(
                    generation_set=wanted,
                    prompt=prompt,
                    # PostgreSQL stores no NUL in text, and a model may well write one.
                    text=answers[prompt.sha256]["text"].replace(
                        "\x00", "\N{REPLACEMENT CHARACTER}"
                    ),
                    finish_reason=answers[prompt.sha256]["finish_reason"] or "",
                    token_count=answers[prompt.sha256]["tokens"],
                )
                for prompt in prompts
            ],
            ignore_conflicts=True,
        )
        wanted.complete = True
        wanted.save(update_fields=["complete"])
    return wanted
