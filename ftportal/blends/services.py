"""Changes to blends: ask for them, and what becomes of one that has ended."""

from collections.abc import Sequence

from django.db import transaction

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.blends.models import Blend, blend_name
from ftportal.blends.signals import blend_succeeded
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import checkpoint_register
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_resume, job_submit

KIND = "blend"
MOST = 8
"""Blends that are asked for at once: each is a whole checkpoint on the disk."""


class BlendRefusedError(ProblemError):
    """Blends cannot be made."""


@transaction.atomic
def blends_request(
    *, candidate: Checkpoint, alphas: Sequence[float], submitter: User | None
) -> list[Blend]:
    """The blends of a candidate with its parent at these alphas, those that are missing queued.

    One that is there, waits or works stays as it is; one that failed, was stopped, or whose files
    were deleted is made again. Raises BlendRefusedError and changes nothing then.
    """
    wanted = list(dict.fromkeys(alphas))
    if not 1 <= len(wanted) <= MOST:
        raise BlendRefusedError(f"{len(wanted)} blends were asked for.", f"Ask for 1 to {MOST}.")
    for alpha in wanted:
        if not 0 < alpha < 1:
            raise BlendRefusedError(
                f"{100 * alpha:g} % is not a blend: 0 % is the parent, 100 % the checkpoint.",
                "Choose percentages in between.",
            )
    _ends_check(candidate)
    record("blend.asked", candidate, after={"alphas": wanted})
    return [_blend_request(candidate, alpha, submitter) for alpha in wanted]


def _ends_check(candidate: Checkpoint) -> None:
    """Hold both ends' rows, so that nobody deletes their files between the check and the job."""
    if candidate.parent_id is None:
        raise BlendRefusedError(
            f"{candidate} is the model as it came and has no parent to go back toward.",
            "Blend a checkpoint that a session made.",
        )
    ends = Checkpoint.objects.select_for_update().filter(pk__in=[candidate.pk, candidate.parent_id])
    for one in ends:
        if one.deleted_at is not None:
            raise BlendRefusedError(
                f"The files of {one} were deleted.", "A blend needs the weights of both ends."
            )


def _blend_request(candidate: Checkpoint, alpha: float, submitter: User | None) -> Blend:
    title = f"Blend {blend_name(candidate, alpha)}"[:200]
    existing = Blend.objects.filter(candidate=candidate, alpha=alpha).select_related("job").first()
    if existing is None:
        job = job_submit(kind=KIND, title=title, created_by=submitter)
        blend = Blend(candidate=candidate, alpha=alpha, job=job, submitter=submitter)
        blend.full_clean()
        blend.save()
        return blend
    if existing.job.state in (JobState.FAILED, JobState.CANCELLED):
        existing.job = job_resume(job=existing.job)
    elif existing.result is not None and existing.result.deleted_at is not None:
        existing.job = job_submit(kind=KIND, title=title, created_by=submitter)
        existing.save(update_fields=["job"])
    return existing


def blend_finish(*, job: Job) -> None:
    """Make the checkpoint of a blend that has ended well, and tell the floors above. Idempotent."""
    blend = (
        Blend.objects.filter(job=job)
        .select_related("job", "candidate__parent__language_model", "result", "submitter")
        .first()
    )
    if blend is None or job.state != JobState.SUCCEEDED:
        return
    if blend.result is None or blend.result.deleted_at is not None:
        blend.result = checkpoint_register(
            parent=blend.parent,
            name=str(blend),
            directory=job.output_directory,
            displacement_pretrained=blend.summary.get("displacement_pretrained"),
        )
        blend.save(update_fields=["result"])
    _announce(blend)


def _announce(blend: Blend) -> None:
    """Every listener hears of it even if one fails; then the failure is raised, to try again."""
    answers = blend_succeeded.send_robust(sender=Blend, blend=blend)
    errors = [answer for _, answer in answers if isinstance(answer, Exception)]
    if errors:
        raise errors[0]
