"""Changes to how a model is asked."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from corpus.confined import ConfinedError, template_arguments_of
from ftportal.audit.services import record
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import CheckpointError


@transaction.atomic
def model_asking_set(
    *,
    language_model: LanguageModel,
    template_arguments: Mapping[str, Any],
    answer_tokens: int | None,
) -> LanguageModel:
    """Say how a model is asked from now on. Batches and answers that are there stay as they are.

    answer_tokens: the longest answer where a prompt set says less; None leaves it to the set.
    Raises CheckpointError where the model's chat template knows no such argument.
    """
    arguments_known_check(language_model, template_arguments)
    model = LanguageModel.objects.select_for_update().get(pk=language_model.pk)
    before = _asking_of(model)
    model.template_arguments, model.answer_tokens = dict(template_arguments), answer_tokens
    model.save(update_fields=["template_arguments", "answer_tokens"])
    if _asking_of(model) != before:
        record("model.asking", model, before=before, after=_asking_of(model))
    return model


def arguments_known_check(model: LanguageModel, arguments: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a model's chat template does not know one of these arguments."""
    if not arguments:
        return
    try:
        known = template_arguments_of(model.pretrained.directory)
    except ConfinedError as error:
        raise CheckpointError(error.message, error.cure) from error
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise CheckpointError(
            f"The chat template of {model} does not know {unknown[0]}.",
            f"It can be given {', '.join(known)}." if known else "It takes no arguments.",
        )


def _asking_of(model: LanguageModel) -> dict[str, Any]:
    return {"template_arguments": model.template_arguments, "answer_tokens": model.answer_tokens}
