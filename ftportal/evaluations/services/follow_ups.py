"""What follows what on this floor, and how a follow-up that was lost is found again."""

from typing import Any

from django.db.models import Q

from ftportal.accounts.models import User
from ftportal.blends.models import Blend
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Retention
from ftportal.evaluations.selectors import default_suite
from ftportal.evaluations.services.early import early_sweep
from ftportal.evaluations.services.requests import default_measure
from ftportal.evaluations.services.retention import retention_sweep
from ftportal.evaluations.services.suites import EvaluationError
from ftportal.evaluations.services.verdicts import verdicts_reach_possible, verdicts_renew
from ftportal.jobs.models import LIVE_STATES
from ftportal.runs.models import Run


def on_run_succeeded(*, run: Run, **_: Any) -> None:
    """Measure what a run has made, and what it is compared with."""
    if run.output is not None:
        default_measure(checkpoint=run.output, created_by=run.submitter)


def on_blend_succeeded(*, blend: Blend, **_: Any) -> None:
    """Measure a blend as what a run has made: it has to pass the same gates."""
    if blend.result is not None:
        default_measure(checkpoint=blend.result, created_by=blend.submitter)


def on_checkpoint_registered(*, checkpoint: Checkpoint, **_: Any) -> None:
    """Measure a new anchor at once: every later checkpoint is compared with it."""
    if checkpoint.is_pretrained:
        default_measure(checkpoint=checkpoint, created_by=None)


def on_evaluation_measured(*, evaluation: Evaluation, **_: Any) -> None:
    """Reach the verdicts that have become possible."""
    verdicts_reach_possible(evaluation=evaluation)


def on_checkpoint_delete_asked(*, checkpoint: Checkpoint, **_: Any) -> str | None:
    """The weights stay while they are being measured."""
    live = Evaluation.with_repeats.filter(checkpoint=checkpoint, job__state__in=LIVE_STATES).first()
    if live is not None:
        return f"{checkpoint} is being measured by {live.suite}."
    kept = Retention.objects.filter(checkpoint=checkpoint, job__state__in=LIVE_STATES)
    return f"{checkpoint} is being measured on what it learned." if kept.exists() else None


def follow_ups_sweep() -> None:
    """Find what was lost between two floors: measurements never asked for, verdicts not reached."""
    _measure_missing()
    retention_sweep()
    suites_seen = set()
    waiting = Evaluation.objects.filter(
        measured=True, judged=False, problem="", checkpoint__parent__isnull=False
    ).select_related("suite", "checkpoint__language_model")
    for evaluation in waiting:
        key = (evaluation.suite.content_hash, evaluation.checkpoint.language_model_id)
        if key not in suites_seen:
            suites_seen.add(key)
            verdicts_reach_possible(evaluation=evaluation)
    verdicts_renew()
    early_sweep()


def _measure_missing() -> None:
    """What nobody asked for: anchors, and what was made since the default suite exists."""
    suite = default_suite()
    if suite is None:
        return
    unmeasured = Checkpoint.objects.filter(deleted_at__isnull=True).exclude(
        evaluations__suite__content_hash=suite.content_hash
    )
    for checkpoint in unmeasured.filter(parent__isnull=True):
        _measure_or_leave(checkpoint, None)
    newer = unmeasured.filter(
        Q(made_by__isnull=False) | Q(blended_by__isnull=False), created_at__gte=suite.created_at
    )
    for checkpoint in newer.select_related("made_by__submitter", "blended_by__submitter"):
        maker = getattr(checkpoint, "made_by", None) or checkpoint.blended_by
        _measure_or_leave(checkpoint, maker.submitter)


def _measure_or_leave(checkpoint: Checkpoint, created_by: User | None) -> None:
    try:
        default_measure(checkpoint=checkpoint, created_by=created_by)
    except EvaluationError:
        # The checkpoint's panel says why; the next sweep tries again once it was mended.
        return
