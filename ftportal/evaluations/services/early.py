"""Adaptive mode: measure a checkpoint only until it is certain what it lost.

A partial measurement is kept beside the whole ones and never in their place: managers leave it out,
so nothing is reused from it, no gate opens by it, and no later step follows from its verdict.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction

from evaluation.config import AdaptiveConfig, AdaptiveGroup
from evaluation.judging.adaptive import adaptive_judge
from evaluation.judging.pairing import ComparisonError, paired_benchmark
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite, Verdict, VerdictRule
from ftportal.evaluations.selectors import (
    baselines,
    benchmark_titles,
    evaluation_of,
    items_of,
    measured_evaluation,
)
from ftportal.evaluations.services.requests import request_again
from ftportal.evaluations.services.suites import EvaluationError, suite_check
from ftportal.evaluations.services.verdicts import (
    pair_check,
    rule_for,
    texts_compare,
    verdict_fields,
)
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.services import job_submit

logger = logging.getLogger(__name__)


@transaction.atomic
def early_request(*, checkpoint: Checkpoint, suite: Suite, created_by: User | None) -> Evaluation:
    """Measure a checkpoint against the champion, or its parent, until the answer is certain.

    The one that exists is returned; one that failed or was stopped is queued again. Raises
    EvaluationError where there is nothing to save or nothing to hold it against.
    """
    checkpoint = Checkpoint.with_exports.select_for_update().get(pk=checkpoint.pk)
    if checkpoint.deleted_at is not None:
        raise EvaluationError(f"The files of {checkpoint} were deleted.", "Measure another one.")
    whole = evaluation_of(checkpoint, suite)
    if whole is not None and (whole.measured or whole.job.is_live):
        raise EvaluationError(
            f"All items of {suite} are measured already, or are being measured.",
            "There is nothing to save.",
        )
    suite_check(suite)
    before = _before(checkpoint, suite)
    plan = _plan(checkpoint, suite, before)
    content = json.dumps([before.pk, plan], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()
    evaluation = Evaluation.with_repeats.filter(
        checkpoint=checkpoint, suite=suite, repeat=0, adaptive_key=key
    ).first()
    if evaluation is not None:
        if evaluation.measured and evaluation.problem:
            early_judge(evaluation=evaluation)
        elif not evaluation.measured and not evaluation.job.is_live:
            request_again(evaluation, created_by)
        return evaluation
    title = f"Measure {checkpoint} by {suite} until it is certain"
    made = Evaluation(
        checkpoint=checkpoint,
        suite=suite,
        against=before,
        adaptive=plan,
        adaptive_key=key,
        job=job_submit(kind="evaluate", title=title[:200], created_by=created_by),
    )
    made.full_clean()
    made.save()
    return made


def _before(checkpoint: Checkpoint, suite: Suite) -> Evaluation:
    compared = baselines(checkpoint)
    if not compared:
        raise EvaluationError(
            f"{checkpoint} is the model as it came: there is nothing to hold it against.",
            "Measure it whole: all others are compared with it.",
        )
    baseline = compared[-1]  # the champion, or else the parent: nearest to the question of today
    before = measured_evaluation(baseline, suite)
    if before is None:
        raise EvaluationError(
            f"{baseline} is not measured by {suite} yet, and without its answers nobody can say "
            "when enough was asked.",
            "Measure it first, or measure this checkpoint whole.",
        )
    return before


def _plan(checkpoint: Checkpoint, suite: Suite, before: Evaluation) -> dict[str, Any]:
    """How it stops, as plain JSON: the rule of today, and an order of this checkpoint's own."""
    rule = rule_for(suite.rule, before, checkpoint)
    answered = set(before.samples.values_list("benchmark", flat=True).distinct())
    names = [one["name"] for one in suite.benchmarks if one["name"] in answered]
    if not names:
        raise EvaluationError(
            f"{suite} asks nothing that is right or wrong, so it cannot be stopped early.",
            "Measure it whole.",
        )
    if rule.gate_on == "pooled":
        groups = [{"benchmarks": names, "margin": rule.pooled_margin}]
    else:
        groups = [{"benchmarks": [name], "margin": rule.margin_for(name)} for name in names]
    return {
        "rule": suite.rule.pk,
        "alpha": rule.alpha,
        "together": len(names) + suite.held_out_sets.count(),
        "seed": checkpoint.manifest_hash,
        "groups": groups,
    }


def early_config(evaluation: Evaluation) -> dict[str, Any]:
    """The part of the engine's config that says when to stop; writes the answers before beside."""
    if evaluation.against is None:
        message, cure = "What it is held against is gone.", "Measure it whole."
        raise JobRefusedError(f"Evaluation {evaluation}", message, cure)
    lines = [
        json.dumps(
            {
                "benchmark": name,
                "doc_hash": item.doc_hash,
                "prompt_hash": item.prompt_hash,
                "target_hash": item.target_hash,
                "correct": int(item.correct),
                "cluster": item.cluster,
            }
        )
        for name, items in items_of(evaluation.against).items()
        for item in items
    ]
    data = "".join(f"{line}\n" for line in lines).encode()
    path = evaluation.job.directory / "before.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    told = {key: evaluation.adaptive[key] for key in ("alpha", "together", "seed", "groups")}
    return told | {"before": str(path), "before_sha256": hashlib.sha256(data).hexdigest()}


def early_judge(*, evaluation: Evaluation) -> Verdict | None:
    """The verdict on a measurement that was stopped early; None, and why, where there is none."""
    try:
        made = _judge(evaluation)
    except (ComparisonError, EvaluationError) as refusal:
        logger.warning("no verdict on %s: %s", evaluation, refusal)
        Evaluation.with_repeats.filter(pk=evaluation.pk).update(problem=str(refusal))
        return None
    Evaluation.with_repeats.filter(pk=evaluation.pk).update(judged=True, problem="")
    return made


def _judge(evaluation: Evaluation) -> Verdict:
    before = evaluation.against
    if before is None:
        raise EvaluationError("What it was held against is gone.", "Measure it whole.")
    pair_check(before, evaluation)
    stored = VerdictRule.objects.get(pk=evaluation.adaptive["rule"])
    rule = rule_for(stored, before, evaluation.checkpoint)
    config = _config_of(evaluation)
    stoppable = {name for group in config.groups for name in group.benchmarks}
    items_before, items_after = items_of(before), items_of(evaluation)
    judged = adaptive_judge(
        config,
        before=items_before,
        after=items_after,
        whole=[
            paired_benchmark(
                name=name,
                before=items,
                after=items_after.get(name, []),
            )
            for name, items in items_before.items()
            if name not in stoppable
        ],
        perplexities=texts_compare(before, evaluation),
        rule=rule,
        titles=benchmark_titles(),
    )
    return Verdict.with_early.get_or_create(
        before=before,
        after=evaluation,
        rule=stored,
        defaults=verdict_fields(judged),
    )[0]


def _config_of(evaluation: Evaluation) -> AdaptiveConfig:
    """What was planned, less the benchmarks that the engine had to measure whole."""
    stopped = {name for one in evaluation.stops for name in one["benchmarks"]}
    plan: Mapping[str, Any] = evaluation.adaptive
    groups = [
        AdaptiveGroup(benchmarks=tuple(one["benchmarks"]), margin=one["margin"])
        for one in plan["groups"]
    ]
    kept = [
        replace(one, benchmarks=tuple(name for name in one.benchmarks if name in stopped))
        for one in groups
        if stopped & set(one.benchmarks)
    ]
    if not kept:
        raise EvaluationError("Nothing of it could be stopped early.", "Measure it whole.")
    return AdaptiveConfig(
        before="before.jsonl",
        before_sha256="as the engine has checked",
        groups=tuple(kept),
        alpha=plan["alpha"],
        together=plan["together"],
        seed=plan["seed"],
    )


def early_sweep() -> None:
    """Judge what a crash has left without a verdict."""
    for one in Evaluation.with_repeats.filter(measured=True, judged=False, problem="").exclude(
        adaptive_key=""
    ):
        early_judge(evaluation=one)
