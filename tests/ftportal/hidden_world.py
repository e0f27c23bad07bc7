"""A model with one of everything that hangs on a model, all of it named after Zanzibar."""

from types import SimpleNamespace
from typing import Any

from django.db import transaction
from django.utils import timezone

from ftportal.blends.models import Blend
from ftportal.checkpoints.models import Checkpoint, Intake, LanguageModel
from ftportal.datasets.models import Batch, BatchProblem
from ftportal.evaluations.models import (
    Evaluation,
    ExampleLoss,
    Retention,
    Score,
)
from ftportal.evaluations.selectors import default_suite
from ftportal.handover.models import Export
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import kind_of
from ftportal.learnability.models import Learnability
from ftportal.mixtures.models import Mixture, MixturePart
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction, Reread, RereadThing
from ftportal.reviews.models import (
    Generation,
    Preference,
    SpotCheck,
    SpotCheckState,
    Trial,
    TrialAnswer,
    Vote,
)
from ftportal.runs.models import Run, RunBatch
from tests.ftportal.dashboard import world
from tests.ftportal.house import (
    checkpoint_make,
    measure,
    model_make,
)

WORD = "Zanzibar"


def hidden_world_make(cast: SimpleNamespace) -> LanguageModel:
    """The model, not restricted yet. Its jobs include one that waits and one that runs."""
    model = model_make(f"{WORD} model")
    child = checkpoint_make(model, f"{WORD} child", model.pretrained, run_by=cast.tina)
    _measured(child)
    _taught(model, child, cast)
    for item in reviewed_make(child).items.all():
        Vote.objects.create(
            item=item, reviewer=cast.rob, candidate_is_left=True, preference=Preference.LEFT
        )
    with transaction.atomic():
        ledger_append(
            language_model=model,
            action=PromotionAction.PROMOTE,
            actor=cast.leo,
            to=child,
            reason=f"{WORD} is better",
            evidence={},
        )
    _read_again(child)
    _job("ingest", JobState.SUCCEEDED)  # of a batch that was deleted
    candidate = checkpoint_make(model, f"{WORD} candidate", child, run_by=cast.tina)
    measured_make(candidate)
    reviewed_make(candidate)
    world.spot_check_make(candidate=candidate, baseline=model.pretrained)
    handed_over_make(child, cast)
    Intake.objects.create(
        name=model.name, language_model=model, job=_job("intake", JobState.SUCCEEDED)
    )
    return model


def handed_over_make(child: Checkpoint, cast: SimpleNamespace) -> None:
    """An export of a checkpoint, and a prompt that was tried on it."""
    Export.objects.create(
        source=child, quantisation="Q8_0", job=_job("export", JobState.FAILED), submitter=cast.tina
    )
    trial = Trial.objects.create(
        checkpoint=child, messages=[{"role": "user", "content": WORD}], asked_by=cast.tina
    )
    TrialAnswer.objects.create(
        trial=trial, checkpoint=child, job=_job("generate", JobState.SUCCEEDED), text=WORD
    )


def _read_again(child: Checkpoint) -> None:
    """It differs, which would stand on Home."""
    reread = Reread.objects.create(
        language_model=child.language_model, job=_job("reread", JobState.SUCCEEDED)
    )
    RereadThing.objects.create(
        reread=reread,
        checkpoint=child,
        what=WORD,
        sha256=child.manifest_hash,
        file_count=1,
        size_bytes=1,
        problem=f"{WORD} was changed",
        read_at=timezone.now(),
    )


def reviewed_make(candidate: Checkpoint) -> SpotCheck:
    """An approval against the parent, by prompts that are there for every model."""
    assert candidate.parent is not None
    check = world.spot_check_make(
        candidate=candidate, baseline=candidate.parent, state=SpotCheckState.APPROVED
    )
    for side in (check.candidate_answers, check.baseline_answers):
        for item in check.items.all():
            Generation.objects.get_or_create(
                generation_set=side, prompt=item.prompt, defaults={"text": f"{side} says so"}
            )
    return check


def measured_make(candidate: Checkpoint) -> Evaluation:
    """A candidate measured and judged against its parent by the default suite."""
    suite = default_suite() or world.suite_make(sets={"Manual": "prose"})
    right, nll = {"capitals": world.BEFORE}, {"Manual": [200.0] * 10}

    def measured(one: Checkpoint) -> Evaluation:
        known = Evaluation.objects.filter(checkpoint=one, suite=suite).first()
        return known or world.evaluation_make(checkpoint=one, suite=suite, right=right, nll=nll)

    assert candidate.parent is not None
    after = measured(candidate)
    world.judged(measured(candidate.parent), after)
    return after


def _measured(child: Checkpoint) -> None:
    evaluation = measured_make(child)
    Score.objects.create(
        evaluation=evaluation, benchmark=WORD, metric="m", n=1, higher_is_better=True
    )
    running = _job("evaluate", JobState.RUNNING)
    Evaluation.objects.create(
        checkpoint=child, suite=evaluation.suite, repeat=1, measured=False, job=running
    )


def _taught(model: LanguageModel, child: Checkpoint, cast: SimpleNamespace) -> None:
    batch = world.batch_make(name=f"{WORD} talks", model=model, uploaded_by=cast.tina)
    Batch.objects.filter(pk=batch.pk).update(job=_job("ingest", JobState.SUCCEEDED))
    refused = world.batch_make(name=f"{WORD} broken", model=model, state="refused")
    BatchProblem.objects.create(batch=refused, line=1, message=WORD)
    mixture = Mixture.objects.create(name=f"{WORD} mixture", language_model=model)
    MixturePart.objects.create(mixture=mixture, batch=batch)
    run = Run.objects.get(output=child)
    RunBatch.objects.create(run=run, batch=batch, weight=1.0)
    measure(run, {1: 1.0})
    Run.objects.create(
        name=f"{WORD} waits",
        parent=child,
        job=_job("train", JobState.QUEUED),
        recipe=run.recipe,
        submitter=cast.tina,
    )
    Blend.objects.create(candidate=child, alpha=0.5, job=_job("blend", JobState.FAILED))
    Learnability.objects.create(
        batch=batch, checkpoint=child, measured=True, job=_job("score", JobState.SUCCEEDED)
    )
    kept = Retention.objects.create(
        checkpoint=child, batch=batch, dtype="float32", job=_job("evaluate", JobState.SUCCEEDED)
    )
    ExampleLoss.objects.create(retention=kept, nll_nats=1.0, tokens=1)


def _job(kind: str, state: str) -> Job:
    queue = kind_of(kind).queue
    return world.job_make(title=f"{kind} of {WORD}", state=state, kind=kind, queue=queue)


def restrict(model: LanguageModel, *people: Any) -> None:
    """Let only these people, and administrators, see the model."""
    model.is_restricted = True
    model.save()
    model.people.set(people)
