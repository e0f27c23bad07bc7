"""Judging: which pairs, by which rule, and what follows."""

import logging
import math
import time
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from engine.numbers import finite
from evaluation.judging.paired import PairedTexts
from evaluation.judging.pairing import ComparisonError, paired_benchmark, paired_perplexity
from evaluation.judging.rule import Rule
from evaluation.judging.verdict import Verdict as Judgement
from evaluation.judging.verdict import verdict
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Verdict, VerdictRule
from ftportal.evaluations.selectors import (
    baselines,
    benchmark_titles,
    documents_of,
    items_of,
    measured_evaluation,
)
from ftportal.evaluations.services.suites import EvaluationError
from ftportal.evaluations.signals import verdict_reached

logger = logging.getLogger(__name__)

PINNED = (
    "dtype",
    "attention",
    "batch_size",
    "window_tokens",
    "stride_tokens",
    "prefix_token_id",
)
"""What the engine says of how it measured, and what has to be the same on both sides."""
_ALIKE = (
    "Measure both alike: where the suite leaves number format and sequences a pass open, make a "
    "version of it that says them, and measure both by that."
)


def verdict_reach(*, before: Evaluation, after: Evaluation) -> Verdict:
    """Judge `after` against `before` by the rule of its suite; the verdict that exists is kept.

    Against the pre-trained anchor, where several sessions add up, the rule's cumulative budget
    applies. Raises EvaluationError where the two are not measurements of the same things.
    """
    pair_check(before, after)
    rule = VerdictRule.objects.get(suite=after.suite)
    known = Verdict.objects.filter(before=before, after=after, rule=rule).first()
    if known is not None:
        return known
    judged = _judge(before, after, rule_for(rule, before, after.checkpoint))
    with transaction.atomic():
        made, created = Verdict.objects.get_or_create(
            before=before,
            after=after,
            rule=rule,
            defaults=verdict_fields(judged),
        )
        if created:
            transaction.on_commit(partial(verdict_reached.send_robust, Verdict, verdict=made))
    return made


def verdict_fields(judged: Judgement) -> dict[str, Any]:
    """What is stored of a judgement."""
    return {
        "outcome": judged.outcome,
        "reason": judged.reason,
        "evidence": finite(judged.to_json()),
    }


def pair_check(before: Evaluation, after: Evaluation) -> None:
    """Raise EvaluationError where two evaluations are not measurements of the same things."""
    for side in (before, after):
        if not side.measured:
            raise EvaluationError(
                f"{side.checkpoint} is not measured by {side.suite} yet.", "Wait until it is."
            )
    if before.suite.content_hash != after.suite.content_hash:
        raise EvaluationError(
            f"{before.checkpoint} was measured by {before.suite} and {after.checkpoint} by "
            f"{after.suite}, which ask different things.",
            "Measure both by the same suite.",
        )
    if before.checkpoint.language_model_id != after.checkpoint.language_model_id:
        raise EvaluationError(
            f"{before.checkpoint} and {after.checkpoint} are not of the same language model.",
            "Compare checkpoints of one model.",
        )
    for name in PINNED:
        was, now = before.settings.get(name), after.settings.get(name)
        if was != now:
            raise EvaluationError(
                f"The two were measured with a different {name.replace('_', ' ')}: "
                f"{was} before, {now} after.",
                _ALIKE,
            )
    _check_tokenizers(before, after)


def _check_tokenizers(before: Evaluation, after: Evaluation) -> None:
    """Perplexity a token says nothing across tokenizers; right and wrong answers still do."""
    was, now = (one.settings.get("tokenizer_sha256") for one in (before, after))
    if was and now and was != now and after.suite.held_out_sets.exists():
        raise EvaluationError(
            f"{before.checkpoint} and {after.checkpoint} have different tokenizers, so their "
            "perplexity a token cannot be compared.",
            "Compare their bits a byte, which both measurements show, or measure both by a suite "
            "without held-out text.",
        )


def rule_for(stored: VerdictRule, before: Evaluation, candidate: Checkpoint) -> Rule:
    """The rule as it applies to this pair: with the cumulative budget where sessions add up."""
    rule = Rule.from_json(stored.rule)
    cumulative = before.checkpoint.is_pretrained and candidate.depth > 1
    return rule.against_anchor() if cumulative else rule


def _judge(before: Evaluation, after: Evaluation, rule: Rule) -> Judgement:
    items_before, items_after = items_of(before), items_of(after)
    try:
        benchmarks = [
            paired_benchmark(
                name=name,
                before=items_before.get(name, []),
                after=items_after.get(name, []),
            )
            for name in _names(items_before, items_after)
        ]
        perplexities = texts_compare(before, after)
    except ComparisonError as error:
        raise EvaluationError(
            f"{before.checkpoint} and {after.checkpoint} cannot be compared. {error}"
        ) from error
    return verdict(benchmarks, perplexities, rule, benchmark_titles())


def texts_compare(before: Evaluation, after: Evaluation) -> list[PairedTexts]:
    """Every held-out text of two evaluations; raises ComparisonError where documents differ."""
    texts_before, texts_after = documents_of(before), documents_of(after)
    return [
        paired_perplexity(
            domain=name,
            before=texts_before.get(name, []),
            after=texts_after.get(name, []),
        )
        for name in _names(texts_before, texts_after)
    ]


def _names(before: dict, after: dict) -> list[str]:
    """The keys of both, those of `before` first."""
    return list(before | after)


def verdicts_reach_possible(*, evaluation: Evaluation) -> list[Verdict]:
    """Reach the verdicts that a measured evaluation has made possible, as candidate or baseline."""
    waiting = Evaluation.objects.filter(
        measured=True,
        judged=False,
        problem="",
        suite__content_hash=evaluation.suite.content_hash,
        checkpoint__language_model=evaluation.checkpoint.language_model,
        checkpoint__parent__isnull=False,
    ).select_related("checkpoint__language_model", "checkpoint__parent", "suite")
    return [made for candidate in waiting for made in _candidate_judge(candidate)]


def _candidate_judge(candidate: Evaluation) -> list[Verdict]:
    """Judge a candidate against its baselines; it is judged once all of them are measured."""
    made, complete = [], True
    for baseline in baselines(candidate.checkpoint):
        before = measured_evaluation(baseline, candidate.suite)
        if before is None:
            complete = complete and baseline.deleted_at is not None
            continue
        try:
            made.append(verdict_reach(before=before, after=candidate))
        except EvaluationError as refusal:
            logger.warning("no verdict on %s: %s", candidate, refusal)
            Evaluation.objects.filter(pk=candidate.pk).update(problem=str(refusal))
            return made
    if complete:
        Evaluation.objects.filter(pk=candidate.pk).update(judged=True)
    return made


def checkpoint_judge(*, evaluation: Evaluation) -> list[Verdict]:
    """Judge a measured checkpoint again: against the champion of today, by the rule in force."""
    Evaluation.objects.filter(pk=evaluation.pk).update(judged=False, problem="")
    return verdicts_reach_possible(evaluation=evaluation)


def verdicts_stale() -> QuerySet[Verdict]:
    """The verdicts on pairs that only earlier versions of the rule have judged."""
    in_force = Verdict.objects.filter(
        before=OuterRef("before"), after=OuterRef("after"), rule=OuterRef("after__suite__rule")
    )
    return Verdict.objects.filter(~Exists(in_force))


def verdicts_renew(*, seconds_most: float = math.inf) -> list[Verdict]:
    """Judge again, by the rule in force, the pairs that only earlier versions have judged.

    The newest come first. Begins no other after `seconds_most`: the sweep goes on with the rest.
    """
    stale = (
        verdicts_stale()
        .defer("evidence", "reason")
        .select_related("before__checkpoint", "before__suite", "after__checkpoint", "after__suite")
        .order_by("-created_at", "-pk")
    )
    pairs = {(one.before_id, one.after_id): one for one in stale}
    until, made = time.monotonic() + seconds_most, []
    for one in pairs.values():
        if time.monotonic() > until:
            break
        try:
            made.append(verdict_reach(before=one.before, after=one.after))
        except EvaluationError as refusal:
            logger.warning("no new verdict on %s: %s", one.after, refusal)
    return made
