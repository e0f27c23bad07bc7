"""What pages and other floors read about blends."""

from collections.abc import Collection

from ftportal.accounts.models import User
from ftportal.blends.models import Blend
from ftportal.checkpoints.models import Checkpoint
from ftportal.runs.selectors import Learned, batches_learned


def blends_of(candidate: Checkpoint) -> list[Blend]:
    """All blends of a candidate with its parent, the one nearest to the parent first."""
    return list(
        Blend.objects.filter(candidate=candidate)
        .select_related("candidate__parent", "job", "result", "submitter")
        .order_by("alpha")
    )


def blend_of(checkpoint: Checkpoint) -> Blend | None:
    """The blend that a checkpoint is; None where it is none."""
    return (
        Blend.objects.filter(result=checkpoint)
        .select_related("candidate__parent", "submitter", "job")
        .first()
    )


def sessions_learned(checkpoint: Checkpoint) -> list[Learned]:
    """The batches of a checkpoint's lineage; a blend knows from the session of its candidate."""
    candidate_of = dict(
        Blend.objects.filter(result__language_model=checkpoint.language_model_id).values_list(
            "result", "candidate"
        )
    )

    def session(pk: int) -> int:
        while pk in candidate_of:  # a candidate may be a blend itself
            pk = candidate_of[pk]
        return pk

    return batches_learned(checkpoint, {pk: session(pk) for pk in candidate_of})


def blend_submitters(checkpoints: Collection[Checkpoint]) -> dict[int, User | None]:
    """Checkpoint that is a blend -> who asked for it."""
    blends = Blend.objects.filter(result__in=checkpoints).select_related("submitter")
    return {blend.result_id: blend.submitter for blend in blends if blend.result_id}
