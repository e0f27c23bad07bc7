"""What was measured, and between whom verdicts are wanted."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Prefetch, QuerySet

from evaluation.judging.paired import Document, Item
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.jobs.models import LIVE_STATES, JobState


def default_suite() -> Suite | None:
    """The suite that is measured after every run; None while there is none."""
    return Suite.objects.filter(is_default=True).order_by("-pk").first()


def suites_in_use() -> list[Suite]:
    """The newest version of each suite, the default one first."""
    newest: dict[str, Suite] = {}
    for suite in Suite.objects.select_related("rule").prefetch_related("held_out_sets"):
        newest.setdefault(suite.name, suite)
    return sorted(newest.values(), key=lambda suite: (not suite.is_default, suite.name))


def evaluation_of(checkpoint: Checkpoint, suite: Suite) -> Evaluation | None:
    """The evaluation of a checkpoint by a suite, or by another with the very same content."""
    return (
        Evaluation.objects.filter(checkpoint=checkpoint, suite__content_hash=suite.content_hash)
        .select_related("job", "suite", "checkpoint")
        .order_by("-measured", "pk")
        .first()
    )


def measured_evaluation(checkpoint: Checkpoint, suite: Suite) -> Evaluation | None:
    """The finished evaluation of a checkpoint by a suite; None while there is none."""
    evaluation = evaluation_of(checkpoint, suite)
    return evaluation if evaluation is not None and evaluation.measured else None


def baselines(checkpoint: Checkpoint) -> list[Checkpoint]:
    """What a checkpoint is judged against: the anchor, its parent and the champion, each once.

    Against its parent shows what the session cost, against the champion what a promotion would,
    against the anchor what all sessions did. None of them for the anchor itself.
    """
    if checkpoint.parent is None:
        return []
    model = checkpoint.language_model
    wanted = {one.pk: one for one in (model.pretrained, checkpoint.parent, champion(model))}
    wanted.pop(checkpoint.pk, None)
    return list(wanted.values())


def latest_verdict(
    candidate: Checkpoint, baseline: Checkpoint, suite: Suite | None = None
) -> Verdict | None:
    """The last verdict on `candidate` against `baseline`, by any suite or by the one named."""
    verdicts = Verdict.objects.filter(after__checkpoint=candidate, before__checkpoint=baseline)
    if suite is not None:
        verdicts = verdicts.filter(after__suite__content_hash=suite.content_hash)
    return (
        verdicts.select_related(
            "rule", "before__checkpoint", "after__checkpoint", "after__suite", "after__suite__rule"
        )
        .order_by("-created_at", "-pk")
        .first()
    )


def items_of(evaluation: Evaluation) -> dict[str, list[Item]]:
    """The outcomes of an evaluation's items by benchmark, without their texts."""
    fields = (
        "benchmark",
        "doc_hash",
        "prompt_hash",
        "target_hash",
        "correct",
        "margin_nats",
        "cluster",
    )
    by_benchmark: dict[str, list[Item]] = {}
    for row in evaluation.samples.order_by("pk").values(*fields):
        benchmark = row.pop("benchmark")
        by_benchmark.setdefault(benchmark, []).append(
            Item(**row | {"cluster": row["cluster"] or None})
        )
    return by_benchmark


def documents_of(evaluation: Evaluation) -> dict[str, list[Document]]:
    """The likelihoods of an evaluation's held-out documents by the name of their set."""
    fields = ("held_out_set__name", "doc_hash", "nll_nats", "tokens")
    by_set: dict[str, list[Document]] = {}
    for name, doc_hash, nll_nats, tokens in evaluation.documents.order_by("pk").values_list(
        *fields
    ):
        one = Document(doc_hash=doc_hash, nll_nats=nll_nats, tokens=tokens)
        by_set.setdefault(name, []).append(one)
    return by_set


STATE_FILTERS: dict[str, dict[str, Any]] = {
    "waiting": {"measured": False, "job__state": JobState.QUEUED},
    "running": {"measured": False, "job__state__in": LIVE_STATES[1:]},
    "measured": {"measured": True},
    "failed": {"measured": False, "job__state": JobState.FAILED},
    "stopped": {"measured": False, "job__state": JobState.CANCELLED},
}
"""Words for the state of an evaluation on pages, and what each selects."""


def evaluation_list(*, checkpoint: str = "", suite: str = "", state: str = "") -> QuerySet:
    """Evaluations for the list page, those that stop early among them, filtered by checkpoint's
    text, suite's name and state."""
    verdicts = Verdict.with_early.select_related("before__checkpoint")
    evaluations = (
        Evaluation.with_repeats.filter(repeat=0)
        .select_related("checkpoint", "suite", "job")
        .prefetch_related(Prefetch("verdicts", verdicts), "scores")
    )
    if checkpoint:
        evaluations = evaluations.filter(checkpoint__name__icontains=checkpoint)
    if suite:
        evaluations = evaluations.filter(suite__name=suite)
    return evaluations.filter(**STATE_FILTERS.get(state, {}))


def live_evaluations(checkpoints: Sequence[Checkpoint]) -> list[Evaluation]:
    """Evaluations of these checkpoints that wait or run, the first in the queue first."""
    return list(
        Evaluation.objects.filter(
            checkpoint__in=checkpoints, measured=False, job__state__in=LIVE_STATES
        )
        .select_related("checkpoint", "suite", "job")
        .order_by("job__created_at")
    )


def early_evaluations(checkpoint: Checkpoint) -> list[Evaluation]:
    """The measurements of a checkpoint that stop as soon as they are certain, the newest first."""
    verdicts = Verdict.with_early.select_related("before__checkpoint")
    return list(
        Evaluation.with_repeats.filter(checkpoint=checkpoint)
        .exclude(adaptive_key="")
        .select_related("suite", "job", "against__checkpoint")
        .prefetch_related(Prefetch("verdicts", verdicts))
        .order_by("-created_at")
    )
