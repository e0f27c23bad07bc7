"""Answers of checkpoints to the prompts of a check, each check with a seed of its own."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import Prompt, PromptSet
from ftportal.datasets.seals import is_as_sealed
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.services import job_submit
from ftportal.reviews.models import Generation, GenerationSet, ReviewItem

SETTINGS: dict[str, Any] = {
    "temperature": 0.7,
    "dtype": "float32",
    "batch_size": 12,
}
"""How both sides answer; the prompt set says how long at most. Drawn with a seed of the check's
own, never greedily: a greedy answer is the same in every check, so whoever has read it under the
champion's name knows that side the next time. Both sides draw with the same seed, so that where the
models agree their answers do, and a difference is still the weights' and seldom the dice's.
float32, for the small changes of a careful session vanish when weights are rounded to bfloat16."""
ANSWERS_WORDS = (
    "Every check draws its answers anew, with a seed of its own that both sides share. So nobody "
    "knows an answer again from an earlier check; the price is that the champion answers once more "
    "for each check, and that an answer is one the model may give, not always its likeliest."
)
"""The same for pages."""


class AnswersMissingError(Exception):
    """The engine's output lacks the answer to a prompt."""


def settings_draw() -> dict[str, Any]:
    """The settings of one check's answers: a new seed, for both sides."""
    return SETTINGS | {"seed": secrets.randbelow(2**31)}


def generation_set_request(
    *, checkpoint: Checkpoint, prompt_set: PromptSet, settings: dict[str, Any]
) -> GenerationSet:
    """Ask a checkpoint for one side's answers, in the transaction that makes the check.

    The job names neither the checkpoint nor who trained it: reviewers see the list of jobs.
    """
    settings = settings | asking_of(checkpoint.language_model, prompt_set.max_new_tokens)
    job = job_submit(
        kind="generate", title=f"Answer {prompt_set} for a spot-check"[:200], created_by=None
    )
    return GenerationSet.objects.create(
        checkpoint=checkpoint,
        prompt_set=prompt_set,
        settings=settings,
        settings_hash=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        job=job,
    )


def asking_of(model: LanguageModel, answer_tokens: int) -> dict[str, Any]:
    """How a model is set to be asked, with room for answers of at least so many tokens."""
    asking: dict[str, Any] = {"max_new_tokens": max(answer_tokens, model.answer_tokens or 0)}
    if model.template_arguments:
        asking["template_arguments"] = model.template_arguments
    return asking


def prompts_of(answers: GenerationSet) -> Sequence[Prompt]:
    """The prompts that a check asks, which are some of a pool, or all that were chosen by hand."""
    items = ReviewItem.objects.filter(
        Q(spot_check__candidate_answers=answers) | Q(spot_check__baseline_answers=answers)
    )
    return list(Prompt.objects.filter(pk__in=items.values("prompt")))


def set_config(job: Job) -> dict[str, Any]:
    """config.json of a job that answers one side of a check."""
    wanted = GenerationSet.objects.select_related("checkpoint", "prompt_set").get(job=job)
    prompts = prompts_of(wanted)
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
    prompts = prompts_of(wanted)
    missing = sum(prompt.sha256 not in answers for prompt in prompts)
    if missing:
        raise AnswersMissingError(f"{wanted}: {missing} of {len(prompts)} prompts have no answer")
    with transaction.atomic():
        Generation.objects.bulk_create(
            [
                Generation(
                    generation_set=wanted,
                    prompt=prompt,
                    text=storable(answers[prompt.sha256]["text"]),
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


def storable(text: str) -> str:
    """An answer as it is stored: PostgreSQL takes no NUL in a text, and a model may write one."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
