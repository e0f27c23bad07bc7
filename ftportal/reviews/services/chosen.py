"""What reviewers chose becomes a batch to learn from."""

import json

from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.datasets.models import Batch, BatchKind
from ftportal.datasets.services import batch_upload
from ftportal.reviews.judging.exports import chosen_answers
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.services.allowed import ReviewRefusedError


@transaction.atomic
def chosen_batch_make(*, spot_check: SpotCheck, made_by: User) -> Batch:
    """Make a batch of the answers that were corrected or preferred; it is read like any upload.

    So it is held against all that measures: its prompts are a prompt set's, and it will ask about
    them. Raises ReviewRefusedError, UploadRefusedError where the batch is there already.
    """
    if not spot_check.is_decided:
        raise ReviewRefusedError(
            "Answers are chosen once the spot-check is decided.", "Wait for the decision."
        )
    chosen = chosen_answers(spot_check)
    if not chosen.examples:
        raise ReviewRefusedError("No answer was chosen: there is nothing to learn from.")
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in chosen.examples)
    day = timezone.localtime(spot_check.created_at)
    batch = batch_upload(
        uploaded_by=made_by,
        language_model=spot_check.candidate.language_model,
        name=f"Chosen answers, {day:%-d %B %Y, %H:%M}",
        kind=BatchKind.CONVERSATION,
        decision_rule="last",
        file=ContentFile(lines.encode(), name=f"chosen-answers-{day:%Y-%m-%d}.jsonl"),
        origin=(
            f"{len(chosen.corrected)} corrected and {len(chosen.preferred)} preferred answers of "
            f"the spot-check of {day:%-d %B %Y, %H:%M}, prompts “{spot_check.prompt_set}”"
        )[:300],
    )
    after = {"batch": batch.name, "examples": len(chosen.examples)}
    record("review.batch_made", spot_check, after=after, actor=made_by)
    return batch
