"""What pages and other floors read about blends."""

from ftportal.accounts.models import User
from ftportal.blends.models import Blend
from ftportal.checkpoints.models import Checkpoint


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


def blend_submitter(checkpoint: Checkpoint) -> User | None:
    """Who asked for the blend that a checkpoint is; None where it is none."""
    blend = blend_of(checkpoint)
    return blend.submitter if blend else None
