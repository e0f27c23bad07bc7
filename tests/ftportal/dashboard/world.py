"""A small portal to look at: objects as engines and people leave them, made without any engine."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.utils import timezone

from engine.manifest import manifest_write
from evaluation.judging.rule import Rule
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.datasets.models import (
    Batch,
    BatchState,
    HeldOutSet,
    Prompt,
    PromptGroup,
    PromptSet,
)
from ftportal.evaluations.models import (
    DocumentLoss,
    Evaluation,
    ExampleLoss,
    Retention,
    Sample,
    Suite,
    Verdict,
)
from ftportal.evaluations.services import verdict_reach
from ftportal.evaluations.services.suites import verdict_rule_create
from ftportal.jobs.models import Job, JobState
from ftportal.reviews.models import GenerationSet, ReviewItem, SpotCheck, SpotCheckState
from ftportal.runs.models import Run, RunBatch
from tests.ftportal.house import measure

RECIPE: dict[str, Any] = {
    "method": {"name": "apollo", "rank": 256, "scale": None, "lora_alpha": None},
    "learning_rate": 1e-5,
    "schedule": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_gradient_norm": 1.0,
    "epochs": 1,
    "examples_per_step": 1,
    "seed": 0,
    "context_frozen": True,
    "max_example_tokens": 4096,
    "dtype": "float32",
    "max_steps": None,
}
Right = Mapping[str, Sequence[int]]
"""Benchmark -> 1 for each item that is right, 0 for each that is wrong."""
Nll = Mapping[str, Sequence[float]]
"""Held-out set -> negative log-likelihood of each document of 100 tokens and 400 bytes, nats."""


def job_make(
    *, title: str, state: str = JobState.SUCCEEDED, kind: str = "train", **fields: Any
) -> Job:
    """A job; one that has ended took a minute and was followed up."""
    now = timezone.now()
    ended = state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    defaults = {
        "started_at": None if state == JobState.QUEUED else now - timedelta(seconds=60),
        "finished_at": now if ended else None,
        "finish_handled": ended,
    }
    return Job.objects.create(kind=kind, title=title, state=state, **defaults | fields)


def directory_make(name: str) -> tuple[str, str]:
    """A directory with a manifest below FTPORTAL_DATA: its relative path and its hash."""
    relative = Path("checkpoints") / name.replace(" ", "-")
    directory = Path(settings.FTPORTAL_DATA) / relative
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.safetensors").write_text(name)
    return str(relative), manifest_write(directory)["sha256"]


def model_make(name: str = "Tiny") -> LanguageModel:
    """A language model with its pre-trained checkpoint."""
    model = LanguageModel.objects.create(name=name, source="tests", parameter_count=1000)
    checkpoint_make(model=model, name=f"{name}, pre-trained")
    return model


def checkpoint_make(
    *,
    name: str,
    parent: Checkpoint | None = None,
    model: LanguageModel | None = None,
    displacement: float | None = None,
) -> Checkpoint:
    """A checkpoint with files that fit its manifest."""
    owner = parent.language_model if parent else model
    assert owner is not None
    path, manifest_hash = directory_make(name)
    return Checkpoint.objects.create(
        language_model=owner,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        name=name,
        path=path,
        manifest_hash=manifest_hash,
        size_bytes=len(name),
        displacement_pretrained=displacement,
    )


def batch_make(
    *,
    name: str,
    model: LanguageModel,
    kind: str = "agent_log",
    state: str = BatchState.READY,
    **fields: Any,
) -> Batch:
    """A batch; a ready one has counts."""
    counts = {"example_count": 40, "held_out_count": 4} if state == BatchState.READY else {}
    return Batch.objects.create(
        name=name,
        kind=kind,
        language_model=model,
        state=state,
        filename=fields.pop("filename", f"{name}.jsonl"),
        sha256=f"{abs(hash((name, state))):064d}"[:64],
        size_bytes=1000,
        **counts | fields,
    )


def run_make(
    *,
    name: str,
    parent: Checkpoint,
    submitter: User | None = None,
    mixture: Sequence[tuple[Batch, float]] = (),
    losses: Sequence[float] = (),
    moved: Sequence[float] = (),
    state: str = JobState.SUCCEEDED,
    job: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> Run:
    """A run; a successful one has a checkpoint of its own name."""
    run = Run.objects.create(
        name=name,
        parent=parent,
        submitter=submitter,
        recipe=RECIPE | recipe,
        job=job_make(title=f"Train {name}", state=state, **dict(job or {})),
    )
    if state == JobState.SUCCEEDED:
        run.output = checkpoint_make(
            name=name, parent=parent, displacement=moved[-1] if moved else None
        )
        run.save()
    RunBatch.objects.bulk_create(
        RunBatch(run=run, batch=batch, weight=weight) for batch, weight in mixture
    )
    series = {"loss_nats": losses, "gradient_norm": losses, "displacement": moved}
    for metric, values in series.items():
        measure(run, dict(enumerate(values, start=1)), metric)
    return run


def output_of(run: Run) -> Checkpoint:
    """The checkpoint that a run made."""
    assert run.output is not None
    return run.output


def suite_make(
    *, sets: Mapping[str, str], rule: Rule | None = None, name: str = "Quick look"
) -> Suite:
    """The default suite with held-out sets, name -> domain."""
    suite = Suite.objects.create(
        name=name,
        benchmarks=[],
        settings={"dtype": "float32"},
        content_hash=name,
        rule=verdict_rule_create(name=f"Rule of {name}", rule=rule or Rule()),
        is_default=True,
    )
    for set_name, domain in sets.items():
        held_out, _ = HeldOutSet.objects.get_or_create(
            name=set_name,
            defaults={
                "domain": domain,
                "source": "tests",
                "sha256": set_name,
                "document_count": 4,
                "size_bytes": 1000,
            },
        )
        suite.held_out_sets.add(held_out)
    return suite


def evaluation_make(
    *, checkpoint: Checkpoint, suite: Suite, right: Right, nll: Nll, tokens: int = 100
) -> Evaluation:
    """A finished measurement with these outcomes."""
    evaluation = Evaluation.objects.create(
        checkpoint=checkpoint,
        suite=suite,
        job=job_make(title=f"Measure {checkpoint}", kind="evaluate"),
        measured=True,
        judged=True,
    )
    Sample.objects.bulk_create(
        Sample(
            evaluation=evaluation,
            benchmark=benchmark,
            doc_hash=f"doc {number}",
            prompt_hash=f"prompt {number}",
            target_hash=f"target {number}",
            correct=bool(correct),
            question="?",
            target="!",
            answer="!" if correct else ".",
        )
        for benchmark, outcomes in right.items()
        for number, correct in enumerate(outcomes)
    )
    sets = {one.name: one for one in HeldOutSet.objects.all()}
    DocumentLoss.objects.bulk_create(
        DocumentLoss(
            evaluation=evaluation,
            held_out_set=sets[name],
            doc_hash=f"text {number}",
            nll_nats=value,
            tokens=tokens,
            bytes=400,
        )
        for name, values in nll.items()
        for number, value in enumerate(values)
    )
    return evaluation


def judged(before: Evaluation, after: Evaluation) -> Verdict:
    """The verdict that the evaluations' rule reaches."""
    return verdict_reach(before=before, after=after)


def spot_check_make(
    *,
    candidate: Checkpoint,
    baseline: Checkpoint,
    items: int = 3,
    state: str = SpotCheckState.OPEN,
    **fields: Any,
) -> SpotCheck:
    """A spot-check whose answers are there and that nobody has voted on."""
    prompts, _ = PromptSet.objects.get_or_create(name="Everyday prompts")
    while prompts.prompts.count() < items:
        number = prompts.prompts.count()
        Prompt.objects.create(
            prompt_set=prompts,
            group=PromptGroup.CODE,
            position=number,
            messages=[{"role": "user", "content": f"Question {number}"}],
            sha256=f"{number:064d}",
        )
    sides = {
        f"{side}_answers": GenerationSet.objects.get_or_create(
            checkpoint=checkpoint,
            prompt_set=prompts,
            settings_hash="same",
            defaults={
                "settings": {},
                "job": job_make(title=f"Answers of {checkpoint}", kind="generate"),
                "complete": True,
            },
        )[0]
        for side, checkpoint in (("candidate", candidate), ("baseline", baseline))
    }
    check = SpotCheck.objects.create(
        candidate=candidate,
        baseline=baseline,
        prompt_set=prompts,
        state=state,
        **sides,
        **fields,
    )
    ReviewItem.objects.bulk_create(
        ReviewItem(
            spot_check=check,
            prompt=prompt,
            position=position,
            votes_needed=check.votes_an_item,
        )
        for position, prompt in enumerate(prompts.prompts.all()[:items])
    )
    return check


BEFORE = [1] * 8 + [0] * 2
"""Eight of ten right."""
SAME: dict[str, Any] = {
    "right": {"local_code": BEFORE, "local_language": BEFORE},
    "nll": {"Manual": [200.0] * 10, "Library": [200.0] * 10},
}
"""Outcomes like the anchor's of `contrast_make`."""


def contrast_make(cast: SimpleNamespace) -> SimpleNamespace:
    """The careful session changed nothing; the reckless one lost seven of ten and doubled prose.

    Ten documents a set, 100 tokens each at 2 nats: perplexity e² before.
    """
    model = model_make()
    anchor = model.pretrained
    suite = suite_make(sets={"Manual": "prose", "Library": "code"}, rule=Rule(pooled_margin=0.2))
    answers = batch_make(name="Answers", model=model, uploaded_by=cast.tina)
    general = batch_make(name="General", model=model, kind="general", uploaded_by=cast.tina)
    careful = run_make(
        name="Careful",
        parent=anchor,
        submitter=cast.tina,
        mixture=[(answers, 3), (general, 1)],
        losses=[3.0] * 10 + [1.0] * 10,
        moved=[0.5, 1.25],
    )
    reckless = run_make(
        name="Reckless",
        parent=anchor,
        submitter=cast.tina,
        mixture=[(answers, 1)],
        losses=[3.0] * 10 + [0.25] * 10,
        moved=[9.0, 21.5],
        learning_rate=3e-4,
        method={"name": "adamw"},
    )
    right = {"local_code": BEFORE, "local_language": BEFORE}
    lost = {"local_code": [0] * 7 + [1] + [0] * 2, "local_language": BEFORE}
    flat = {"Manual": [200.0] * 10, "Library": [200.0] * 10}
    harmed = {"Manual": [250.0 + 10 * (i % 2) for i in range(10)], "Library": [200.0] * 10}
    before = evaluation_make(checkpoint=anchor, suite=suite, right=right, nll=flat)
    kept = evaluation_make(checkpoint=output_of(careful), suite=suite, right=right, nll=flat)
    gone = evaluation_make(checkpoint=output_of(reckless), suite=suite, right=lost, nll=harmed)
    return SimpleNamespace(
        cast=cast,
        model=model,
        anchor=anchor,
        suite=suite,
        answers=answers,
        careful=careful,
        reckless=reckless,
        evaluation_before=before,
        verdict_careful=judged(before, kept),
        verdict_reckless=judged(before, gone),
    )


def retention_make(
    *, checkpoint: Checkpoint, batch: Batch, nats: Sequence[float], **settings: Any
) -> Retention:
    """A checkpoint measured on examples that a batch set aside, ten decision tokens each."""
    retention = Retention.objects.create(
        checkpoint=checkpoint,
        batch=batch,
        dtype="float32",  # as the settings of `suite_make`
        job=job_make(title=f"What {checkpoint} kept", kind="evaluate"),
        measured=True,
        settings=settings,
    )
    ExampleLoss.objects.bulk_create(
        ExampleLoss(retention=retention, doc_hash=f"example {number}", nll_nats=one, tokens=10)
        for number, one in enumerate(nats)
    )
    return retention
