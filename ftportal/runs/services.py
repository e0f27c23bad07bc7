"""Changes to runs: submit, stop, resume, and what becomes of a run that has ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from engine.checks import ConfigError
from engine.modelcheck import model_directory_problems
from ftportal.accounts.models import User
from ftportal.audit.describing import describe
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import model_refusal
from ftportal.checkpoints.services import checkpoint_register
from ftportal.datasets.models import Batch, BatchState, HeldOutSet
from ftportal.jobs.models import JobState
from ftportal.jobs.services import job_resume, job_stop, job_submit
from ftportal.mixtures.models import Mixture as NamedMixture
from ftportal.mixtures.selectors import is_mixture
from ftportal.runs.models import Run, RunBatch
from ftportal.runs.planning import Plan, plan
from ftportal.runs.recipes import (
    Mixture,
    Problem,
    recipe_of,
    recipe_problem,
)
from ftportal.runs.signals import run_succeeded
from training.config import RunConfig

KIND = "train"


class RunRefusedError(Exception):
    """A run cannot be started, stopped or resumed; `problems` say why, field by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(str(problem) for problem in problems))
        self.problems = problems


def run_describe(*, run: Run, name: str, note: str, tags: str) -> None:
    """Name a run, and write a note and tags beside it. Its checkpoint keeps its own name.

    Raises NameTakenError.
    """
    describe(run, "run.described", name=name, note=note, tags=tags)


def run_submit(
    *,
    submitter: User | None,
    name: str,
    parent: Checkpoint,
    mixture: Mixture,
    recipe: Mapping[str, Any],
    probe_set: HeldOutSet | None = None,
    from_mixture: NamedMixture | None = None,
) -> Run:
    """Check everything that can be known before any GPU time, and queue the run.

    `mixture` pairs batches with weights above 0; `recipe` has fields of training.config.RunConfig
    (without model, anchor_model, batches and probes), missing ones take their defaults. `probe_set`
    is the text that is watched, where the recipe watches any. `from_mixture` is kept with the run
    where the run draws what it draws. Raises
    RunRefusedError with every problem found, and changes nothing then.
    """
    name = name.strip()
    problems = [
        *_name_problems(name),
        *_parent_problems(parent),
        *mixture_problems(parent, mixture),
    ]
    planned, refused = _planned(parent, mixture, recipe, probe_set, problems)
    if planned is None or problems:
        raise RunRefusedError([*problems, *refused])
    config = planned.config
    try:
        with transaction.atomic():
            _lock_parent(parent)
            job = job_submit(kind=KIND, title=f"Train {name}", created_by=submitter)
            run = Run(
                name=name,
                parent=parent,
                job=job,
                probe_set=probe_set if config.probes else None,
                from_mixture=from_mixture if _follows(from_mixture, mixture, config) else None,
                recipe=recipe_of(config),
                forecast=planned.to_json(),
                submitter=submitter,
            )
            run.full_clean(validate_unique=False)
            run.save()
            RunBatch.objects.bulk_create(
                RunBatch(run=run, batch=batch, weight=weight) for batch, weight in mixture
            )
            record("run.started", run, after={"parent": str(parent)})
    except IntegrityError:
        raise RunRefusedError(_name_problems(name) or [_retry()]) from None
    return run


def _follows(named: NamedMixture | None, mixture: Mixture, config: RunConfig) -> bool:
    weights = {batch.pk: weight for batch, weight in mixture}
    return named is not None and is_mixture(named, weights, config.seed)


def _retry() -> Problem:
    return Problem(field="name", message="Something changed meanwhile.", cure="Please try again.")


def _lock_parent(parent: Checkpoint) -> None:
    """Hold the parent's row, so that nobody deletes its files between the check and the run."""
    current = Checkpoint.objects.select_for_update().get(pk=parent.pk)
    if current.deleted_at is not None:
        raise RunRefusedError([_deleted(current)])


def _name_problems(name: str) -> list[Problem]:
    if not name:
        return [Problem(field="name", message="The run has no name.", cure="Give it one.")]
    if len(name) > 120:
        message = f"The name has {len(name)} characters."
        return [Problem(field="name", message=message, cure="Use at most 120.")]
    if Run.objects.everything().filter(name=name).exists():
        message = f"There is a run named {name} already."
        cure = f"Choose another name, for example “{name_free(name)}”."
        return [Problem(field="name", message=message, cure=cure)]
    return []


def name_free(name: str) -> str:
    """The name, with a number where it is taken."""
    runs = Run.objects.everything().filter(name__startswith=name[:100])
    taken = set(runs.values_list("name", flat=True))
    free, number = name, 2
    while free in taken:
        free, number = f"{name[:100]} {number}", number + 1
    return free


def _deleted(parent: Checkpoint) -> Problem:
    return Problem(
        field="parent",
        message=f"The files of {parent} were deleted.",
        cure="Choose a checkpoint whose files are there.",
    )


def _parent_problems(parent: Checkpoint) -> list[Problem]:
    if Checkpoint.objects.filter(pk=parent.pk, deleted_at__isnull=False).exists():
        return [_deleted(parent)]
    if (refused := model_refusal(parent.language_model)) is not None:
        job = refused.job
        message = f"{parent.language_model} cannot be taught: {job.error_message}."
        return [Problem(field="parent", message=message, cure=job.error_cure)]
    return [
        Problem(
            field="parent",
            message=f"{parent} cannot be loaded: {problem.where}: {problem.message}.",
            cure=problem.cure,
        )
        for problem in model_directory_problems(parent.directory)
    ]


def mixture_problems(parent: Checkpoint, mixture: Mixture) -> list[Problem]:
    """Why these batches cannot be learnt together from this parent; empty where they can."""
    if not mixture:
        cure = "Give at least one batch a weight above 0."
        return [Problem(field="mixture", message="No batch was chosen.", cure=cure)]
    batches = [batch for batch, _ in mixture]
    if len({batch.pk for batch in batches}) < len(batches):
        message, cure = "A batch was chosen twice.", "Add up its weights."
        return [Problem(field="mixture", message=message, cure=cure)]
    problems = [_batch_problem(parent, batch) for batch in batches]
    return [problem for problem in problems if problem is not None]


def _batch_problem(parent: Checkpoint, batch: Batch) -> Problem | None:
    def refuse(message: str, cure: str) -> Problem:
        return Problem(field="mixture", message=f"{batch}: {message}", cure=cure)

    if batch.state != BatchState.READY:
        word = (
            "was refused when it was read" if batch.state == BatchState.REFUSED else "is not ready"
        )
        return refuse(f"it {word}.", "Wait for it, or choose another batch.")
    if batch.withdrawn_at:
        return refuse(f"it was withdrawn: {batch.withdrawn_reason}", "Choose another batch.")
    if batch.language_model_id != parent.language_model_id:
        return refuse(
            f"its tokens were counted for {batch.language_model}, not for {parent.language_model}.",
            f"Upload it again for {parent.language_model}.",
        )
    if not batch.decision_token_count:
        return refuse(
            "it has no decision tokens, so nothing would be learnt.",
            "Choose a batch whose examples end with an answer.",
        )
    if not batch.trained_count:
        return refuse("all of its examples are held out.", "Upload a batch with more examples.")
    if not batch.examples_path.is_file():
        return refuse("its examples are gone from the disk.", "Upload the file again.")
    return None


def _planned(
    parent: Checkpoint,
    mixture: Mixture,
    recipe: Mapping[str, Any],
    probe_set: HeldOutSet | None,
    known: Sequence[Problem],
) -> tuple[Plan | None, list[Problem]]:
    """The plan, or what else than the known problems stands in its way."""
    fields = {problem.field for problem in known}
    if "mixture" in fields:
        return None, []
    if probe_set is not None and not probe_set.path.is_file():
        message = f"The texts of {probe_set} are gone from the disk."
        return None, [Problem(field="probe_set", message=message, cure="Upload them again.")]
    try:
        return plan(parent=parent, mixture=mixture, recipe=recipe, probe_set=probe_set), []
    except ConfigError as error:
        return None, [recipe_problem(error)]
    except (ValueError, OSError) as error:
        if "parent" in fields:
            return None, []
        message = f"The weights of {parent} cannot be read: {error}."
        return None, [Problem(field="parent", message=message, cure="Choose another checkpoint.")]


def run_stop(*, run: Run) -> Run:
    """Stop a run: a waiting one at once, a working one after it has saved its state."""
    run.job = job_stop(job=run.job)
    return run


def run_resume(*, run: Run) -> Run:
    """Go on with a stopped or failed run from its last saved state, with the same recipe.

    Raises RunRefusedError where that cannot end otherwise than before.
    """
    if not run.can_resume:
        cure = "Start a new run from this one's recipe and change what stopped it."
        if run.job.is_live or run.job.state == JobState.SUCCEEDED:
            cure = ""
        message = f"{run} cannot be resumed: it is {run.state}."
        raise RunRefusedError([Problem(field="", message=message, cure=cure)])
    problems = _parent_problems(run.parent)
    if problems:
        raise RunRefusedError(problems)
    run.job = job_resume(job=run.job)
    return run


def run_finish(*, run: Run) -> None:
    """Make the checkpoint of a run that has ended well, and tell the floors above. Idempotent."""
    if run.job.state != JobState.SUCCEEDED or run.same_as_id is not None:
        return
    if run.output_id is None:
        checkpoint = checkpoint_register(
            parent=run.parent,
            name=run.name,
            directory=run.job.output_directory,
            displacement_pretrained=run.summary.get("displacement_pretrained"),
        )
        _output_set(run, checkpoint)
    if run.output_id is not None:
        _announce(run)


def _output_set(run: Run, checkpoint: Checkpoint) -> None:
    """Note what the run made; where another made the same weights before, that instead."""
    with transaction.atomic():
        taken = Run.objects.filter(output=checkpoint).exclude(pk=run.pk).exists()
        if taken or checkpoint.is_pretrained or checkpoint.pk == run.parent_id:
            run.same_as = checkpoint
        else:
            run.output = checkpoint
        run.save(update_fields=["output", "same_as"])


def _announce(run: Run) -> None:
    """Every listener hears of it even if one fails; then the failure is raised, to try again."""
    answers = run_succeeded.send_robust(sender=Run, run=run)
    errors = [answer for _, answer in answers if isinstance(answer, Exception)]
    if errors:
        raise errors[0]
