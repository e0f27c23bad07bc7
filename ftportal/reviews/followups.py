"""What a verdict or a finished generate job leads to. Every step is idempotent, and swept."""

from typing import Any

from django.db.models import Q

from ftportal.accounts.models import User
from ftportal.blends.selectors import blend_submitter
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.services import default_prompt_set_seed
from ftportal.evaluations.models import Verdict, VerdictOutcome
from ftportal.evaluations.selectors import latest_verdict
from ftportal.jobs.models import Job
from ftportal.reviews.generation import generations_store
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.selectors import default_prompt_set
from ftportal.reviews.services import spot_check_open, spot_checks_start
from ftportal.runs.models import Run


def generate_finish(job: Job) -> None:
    """A generate job has ended: store the answers, open what waited for them."""
    generations_store(job)
    spot_checks_start()


def sweep() -> None:
    """Find spot-checks that a crash between two floors left unopened."""
    spot_checks_start()
    for language_model in LanguageModel.objects.all():
        baseline = champion(language_model)
        judged = Verdict.objects.filter(before__checkpoint=baseline).exclude(
            outcome=VerdictOutcome.FORGOTTEN
        )
        for candidate in language_model.checkpoints.filter(
            deleted_at__isnull=True, pk__in=judged.values("after__checkpoint")
        ).exclude(spot_checks__baseline=baseline):
            spot_check_open_if_due(candidate)


def on_verdict_reached(sender: Any, verdict: Verdict, **kwargs: Any) -> None:
    """A candidate was judged: people look at it next, unless it has forgotten."""
    spot_check_open_if_due(verdict.after.checkpoint)


def on_checkpoint_delete_asked(sender: Any, checkpoint: Checkpoint, **kwargs: Any) -> str | None:
    """Object while a spot-check still waits for the checkpoint's answers."""
    waiting = SpotCheck.objects.filter(
        Q(candidate=checkpoint, candidate_answers__complete=False)
        | Q(baseline=checkpoint, baseline_answers__complete=False),
        state=SpotCheckState.GENERATING,
    )
    return "A spot-check waits for its answers." if waiting.exists() else None


def spot_check_open_if_due(candidate: Checkpoint) -> SpotCheck | None:
    """Open the spot-check against the champion when measurements allow one.

    None where a verdict is missing or says forgotten, against the champion or against the
    pre-trained anchor.
    """
    baseline = champion(candidate.language_model)
    if candidate.is_pretrained or candidate.is_export or candidate.pk == baseline.pk:
        return None
    for other in (baseline, candidate.language_model.pretrained):
        verdict = latest_verdict(candidate, other)
        if verdict is None or verdict.outcome == VerdictOutcome.FORGOTTEN:
            return None
    return spot_check_open(
        candidate=candidate,
        baseline=baseline,
        prompt_set=default_prompt_set() or default_prompt_set_seed(),
        submitter=checkpoint_submitter(candidate),
    )


def checkpoint_submitter(checkpoint: Checkpoint) -> User | None:
    """Who started the run, or asked for the blend, that made the checkpoint; None where neither."""
    run = Run.objects.filter(output=checkpoint).select_related("submitter").first()
    return run.submitter if run else blend_submitter(checkpoint)
