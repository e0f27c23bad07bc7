"""Making mixtures and their versions, and deleting what no run used."""

import math
from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Max

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch, BatchState
from ftportal.mixtures.models import Mixture, MixturePart, PartRole

SHARE_MAX = 0.95
Part = tuple[Batch, str, float]
"""A batch, its role and its weight against the others of that role."""


class MixtureError(ProblemError):
    """A mixture cannot be."""


def mixture_make(
    *,
    name: str,
    language_model: LanguageModel,
    parts: Sequence[Part],
    general_share: float = 0.0,
    replay_share: float = 0.0,
    order_seed: int = 0,
    note: str = "",
    made_by: User | None = None,
    version_of: Mixture | None = None,
) -> Mixture:
    """Make a mixture, or the next version of one. Raises MixtureError where that cannot be."""
    name = version_of.name if version_of else name.strip()
    if not name or len(name) > 120:
        raise MixtureError("A mixture needs a name of at most 120 characters.", "Name it.")
    if version_of is None and Mixture.objects.filter(name=name).exists():
        cure = "Make a new version of that one, or choose another name."
        raise MixtureError(f"There is a mixture {name} already.", cure)
    if version_of is None and Mixture.objects.everything().filter(name=name).exists():
        raise MixtureError(f"The name {name} is taken.", "Choose another name.")
    _parts_check(language_model, parts)
    _shares_check(parts, general_share, replay_share)
    made = Mixture(
        name=name,
        version=1 + (Mixture.objects.filter(name=name).aggregate(v=Max("version"))["v"] or 0),
        language_model=language_model,
        general_share=general_share,
        replay_share=replay_share,
        order_seed=order_seed,
        note=note.strip()[:300],
        created_by=made_by,
    )
    try:
        with transaction.atomic():
            made.save()
            MixturePart.objects.bulk_create(
                MixturePart(mixture=made, batch=batch, role=role, weight=weight)
                for batch, role, weight in parts
            )
            record("mixture.made", made, reason=made.note)
    except IntegrityError:
        message = f"Somebody else made a version of {name} meanwhile."
        raise MixtureError(message, "Look at it, then try again.") from None
    return made


def _parts_check(language_model: LanguageModel, parts: Sequence[Part]) -> None:
    batches = [batch for batch, _, _ in parts]
    if len({batch.pk for batch in batches}) < len(batches):
        raise MixtureError("A batch was chosen twice.", "Add up its weights.")
    for batch, role, weight in parts:
        if role not in PartRole.values:
            raise MixtureError(f"{role!r} is not a role.", f"Use {', '.join(PartRole.values)}.")
        if not math.isfinite(weight) or weight <= 0:
            raise MixtureError(
                f"The weight of {batch} is not above 0.", "Write 1, or leave it out."
            )
        if batch.language_model_id != language_model.pk:
            message = f"{batch} was counted for {batch.language_model}."
            raise MixtureError(message, f"Choose batches of {language_model}.")
        if batch.state != BatchState.READY or batch.withdrawn_at:
            raise MixtureError(f"{batch} cannot be trained on.", "Leave it out.")
        if not batch.trained_count:
            raise MixtureError(f"All examples of {batch} are held out.", "Leave it out.")


def _shares_check(parts: Sequence[Part], general_share: float, replay_share: float) -> None:
    roles = {role for _, role, _ in parts}
    if PartRole.NEW not in roles:
        raise MixtureError("It has nothing new to learn.", "Choose a batch to learn.")
    for role, share, word in (
        (PartRole.GENERAL, general_share, "general"),
        (PartRole.REPLAY, replay_share, "replay"),
    ):
        if not math.isfinite(share) or not 0 <= share <= SHARE_MAX:
            raise MixtureError(f"The {word} share is not from 0 to 95 %.", "Write 25, for example.")
        if share and role not in roles:
            cure = f"Choose a batch for it, or set the {word} share to 0."
            raise MixtureError(f"{100 * share:g} % are to be {word}, but no batch is.", cure)
        if role in roles and not share:
            cure = f"Set the {word} share, or make them batches to learn."
            raise MixtureError(f"There are {word} batches, but the {word} share is 0.", cure)
    if general_share + replay_share > SHARE_MAX:
        message = "General and replay together leave nothing to learn."
        raise MixtureError(message, "Keep them at 95 % or less together.")


@transaction.atomic
def mixture_delete(*, mixture: Mixture) -> None:
    """Delete one version that no run used. Raises MixtureError otherwise."""
    current = Mixture.objects.select_for_update().get(pk=mixture.pk)
    if current.runs.exists():
        raise MixtureError(f"{mixture} was used by a run.", "What a run learned from stays.")
    record("mixture.deleted", current)
    current.delete()
