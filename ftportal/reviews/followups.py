"""What a verdict or a finished generate job leads to. Every step is idempotent, and swept."""

from contextlib import suppress
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from ftportal.checkpoints.models import Alias, Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import CHAMPION, champion
from ftportal.datasets.services import default_prompt_set_seed
from ftportal.evaluations.models import Verdict, VerdictOutcome
from ftportal.evaluations.selectors import default_suite, latest_verdict, measured_evaluation
from ftportal.evaluations.services import checkpoint_judge
from ftportal.jobs.models import LIVE_STATES, Job
from ftportal.reviews.generation import generations_store, set_config
from ftportal.reviews.models import SpotCheck, SpotCheckState, TrialAnswer
from ftportal.reviews.selectors import checkpoint_submitter, default_prompt_set
from ftportal.reviews.services import (
    ReviewRefusedError,
    spot_check_open,
    spot_checks_close_stale,
    spot_checks_start,
)
from ftportal.reviews.services.trials import trial_config, trial_finish


def generate_config(job: Job) -> dict[str, Any]:
    """config.json of a generate job: for a side of a check, or for a prompt that somebody tries."""
    answer = _trial_answer(job)
    return trial_config(answer) if answer is not None else set_config(job)


def generate_finish(job: Job) -> None:
    """A generate job has ended: store the answers, open what waited for them."""
    answer = _trial_answer(job)
    if answer is not None:
        trial_finish(answer)
        return
    generations_store(job)
    spot_checks_start()


def _trial_answer(job: Job) -> TrialAnswer | None:
    answers = TrialAnswer.objects.select_related("trial", "checkpoint", "job")
    return answers.filter(job=job).first()


def sweep() -> None:
    """Find spot-checks that a crash between two floors left unopened, or that are out of date."""
    spot_checks_start()
    for language_model in LanguageModel.objects.all():
        baseline = champion(language_model)
        spot_checks_close_stale(language_model=language_model)
        judged = Verdict.objects.filter(before__checkpoint=baseline).exclude(
            outcome=VerdictOutcome.FORGOTTEN
        )
        for candidate in language_model.checkpoints.filter(
            deleted_at__isnull=True, pk__in=judged.values("after__checkpoint")
        ).exclude(spot_checks__in=_that_count(baseline)):
            spot_check_open_if_due(candidate)


def _that_count(baseline: Checkpoint) -> QuerySet[SpotCheck]:
    """The checks against it that are open or decided; one that was closed counts as none."""
    return SpotCheck.objects.filter(baseline=baseline).exclude(state=SpotCheckState.CLOSED)


def on_alias_moved(sender: Any, alias: Alias, **kwargs: Any) -> None:
    """The champion changed: close what compares with the earlier one, and ask for it anew.

    The candidates are judged against the new champion where both are measured; the verdict opens
    their new checks, under the plans of those that were closed.
    """
    if alias.name != CHAMPION:
        return
    closed = spot_checks_close_stale(language_model=alias.language_model)
    for candidate in {one.candidate for one in closed} - {alias.checkpoint}:
        transaction.on_commit(partial(_judge_anew, candidate), robust=True)


def _judge_anew(candidate: Checkpoint) -> None:
    suite = default_suite()
    evaluation = measured_evaluation(candidate, suite) if suite else None
    if evaluation is not None:
        checkpoint_judge(evaluation=evaluation)
    spot_check_open_if_due(candidate)


def on_verdict_reached(sender: Any, verdict: Verdict, **kwargs: Any) -> None:
    """A candidate was judged: people look at it next, unless it has forgotten."""
    spot_check_open_if_due(verdict.after.checkpoint)


def on_checkpoint_delete_asked(sender: Any, checkpoint: Checkpoint, **kwargs: Any) -> str | None:
    """Object while a spot-check or a tried prompt still waits for answers.

    Alike for all checkpoints of the model: else the objection would name those in the check. An
    export is in none.
    """
    if checkpoint.is_export:
        return None
    waiting = SpotCheck.objects.filter(
        candidate__language_model=checkpoint.language_model_id, state=SpotCheckState.GENERATING
    )
    if waiting.exists():
        return "Answers for a spot-check of this model are being prepared."
    tried = TrialAnswer.objects.filter(checkpoint=checkpoint, job__state__in=LIVE_STATES)
    return "It is answering a prompt that somebody tries." if tried.exists() else None


def spot_check_open_if_due(candidate: Checkpoint) -> SpotCheck | None:
    """Open the spot-check against the champion when measurements allow one.

    None where a verdict is missing or says forgotten, against the champion or against the
    pre-trained anchor.
    """
    baseline = champion(candidate.language_model)
    is_judged = not candidate.is_pretrained and not candidate.is_export
    if not is_judged or candidate.pk == baseline.pk or candidate.deleted_at is not None:
        return None
    for other in (baseline, candidate.language_model.pretrained):
        verdict = latest_verdict(candidate, other)
        if verdict is None or verdict.outcome == VerdictOutcome.FORGOTTEN:
            return None
    return _open_as_before(candidate, baseline)


def _open_as_before(candidate: Checkpoint, baseline: Checkpoint) -> SpotCheck | None:
    """Open a check under the plan of the candidate's last closed one, else under the policy's.

    Where the policy does not allow that plan any more, its own takes its place. None where the
    candidate has a check against this baseline that counts.
    """
    checks = SpotCheck.objects.filter(candidate=candidate)
    known = checks.filter(pk__in=_that_count(baseline)).first()
    if known is not None:
        return known
    earlier = checks.filter(state=SpotCheckState.CLOSED).select_related("prompt_set").first()
    open_check = partial(
        spot_check_open,
        candidate=candidate,
        baseline=baseline,
        submitter=checkpoint_submitter(candidate),
    )
    if earlier is not None:
        with suppress(ReviewRefusedError):
            return open_check(
                prompt_set=earlier.prompt_set,
                votes_an_item=earlier.votes_an_item,
                item_count=earlier.items.count(),
                defects_allowed=earlier.defects_allowed,
            )
    return open_check(prompt_set=default_prompt_set() or default_prompt_set_seed())
