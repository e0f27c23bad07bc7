"""Measurements that stop when the answer is certain: kept beside the whole ones, not in place."""

import hashlib
import shutil
from typing import Any

import pytest
from django.urls import reverse

from engine.manifest import manifest_write
from evaluation.config import AdaptiveGroup, MeasureConfig, config_from_json
from evaluation.judging.adaptive import units_in_order
from evaluation.judging.rule import Rule
from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.evaluations.panel import panel_of
from ftportal.evaluations.selectors import evaluation_of, items_of, latest_verdict
from ftportal.evaluations.services import (
    EvaluationError,
    checkpoint_measure,
    early_request,
    evaluation_finish,
    follow_ups_sweep,
    suite_create,
    verdict_rule_create,
)
from ftportal.evaluations.signals import evaluation_measured, verdict_reached
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.supervisor import job_run_now
from tests.ftportal.evaluations.known import document_lines, output_write, sample_lines

BEFORE = {"local_code": "1" * 150 + "0" * 50, "local_language": "10" * 100}


@pytest.fixture
def asked(suite: Suite, bare_model: Any, child_of: Any, measured: Any) -> Evaluation:
    """A child whose parent is measured, waiting to be measured until it is certain."""
    measured(bare_model.pretrained, BEFORE)
    child = child_of(bare_model.pretrained, "child")
    return early_request(checkpoint=child, suite=suite, created_by=None)


def stopped(evaluation: Evaluation, count: int | None = None) -> int:
    """Leave what the engine would: the first items of the order, answered as before."""
    assert evaluation.against is not None
    plan = evaluation.adaptive["groups"][0]
    group = AdaptiveGroup(benchmarks=tuple(plan["benchmarks"]), margin=plan["margin"])
    units = units_in_order(items_of(evaluation.against), group, evaluation.adaptive["seed"])
    used = count or needed(plan["margin"])
    chosen = {one.before[0].doc_hash for one in units[:used]}
    lines = [line for line in sample_lines(BEFORE) if line["doc_hash"] in chosen]
    stop = plan | {"items": len(units), "items_used": used, "outcome": "", "words": "stopped"}
    key = evaluation.suite.held_out_sets.get().sha256
    output_write(evaluation.job, lines, document_lines(key, 2.0), adaptive={"groups": [stop]})
    evaluation_finish(evaluation.job)
    evaluation.refresh_from_db()
    return used


def needed(margin: float) -> int:
    """Items after which it is certain that an unchanged model has kept what it knew."""
    bets = [bet / (1 - margin) for bet in (0.05, 0.15, 0.4, 0.9)]
    return next(n for n in range(999) if sum((1 + margin * bet) ** n for bet in bets) / 4 >= 20)


def test_the_engine_is_told_against_what_and_how_much(asked: Evaluation, suite: Suite) -> None:
    config = engine_config(asked.job)
    told = config_from_json(config)
    assert isinstance(told, MeasureConfig) and told.adaptive is not None
    assert told.adaptive.groups == (
        AdaptiveGroup(benchmarks=("local_code", "local_language"), margin=0.03),
    )
    assert (told.adaptive.alpha, told.adaptive.together) == (0.05, 3)
    assert told.adaptive.seed == asked.checkpoint.manifest_hash
    data = (asked.job.directory / "before.jsonl").read_bytes()
    assert told.adaptive.before_sha256 == hashlib.sha256(data).hexdigest()
    assert data.count(b"\n") == 400 and told.parent is None
    rule = Rule(gate_on="each", default_margin=0.03, margins={"local_code": 0.05})
    suite.rule = verdict_rule_create(name="Each", rule=rule)
    suite.save()
    other = early_request(checkpoint=asked.checkpoint, suite=suite, created_by=None)
    assert other != asked and other.adaptive_key != asked.adaptive_key
    assert [one["margin"] for one in other.adaptive["groups"]] == [0.05, 0.03]
    assert early_request(checkpoint=asked.checkpoint, suite=suite, created_by=None) == other


def test_it_is_judged_and_nothing_follows_from_it(
    asked: Evaluation, suite: Suite, bare_model: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []

    def hear(**said: Any) -> None:
        heard.append(said)

    for signal in (evaluation_measured, verdict_reached):
        signal.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            used = stopped(asked)
    finally:
        for signal in (evaluation_measured, verdict_reached):
            signal.disconnect(hear)
    assert not heard
    asked.refresh_from_db()
    assert asked.measured and asked.judged and not asked.problem
    verdict = Verdict.with_early.get()
    assert verdict.outcome == "retained" and used < 400
    assert f"stopped after {used} of 400 items" in verdict.reason
    assert verdict.evidence["pooled"]["items_in_all"] == 400
    assert verdict.evidence["pooled"]["n"] == used
    # What is missing of it counts as nothing: neither as measured nor as judged.
    assert evaluation_of(asked.checkpoint, suite) is None
    assert latest_verdict(asked.checkpoint, bare_model.pretrained) is None
    assert not Verdict.objects.exists() and asked not in Evaluation.objects.all()
    whole = checkpoint_measure(checkpoint=asked.checkpoint, suite=suite, created_by=None)
    assert whole[-1] != asked and not whole[-1].adaptive_key
    with pytest.raises(EvaluationError, match="nothing to save"):
        early_request(checkpoint=asked.checkpoint, suite=suite, created_by=None)


def test_answers_that_stop_at_the_wrong_place_are_not_judged(asked: Evaluation) -> None:
    stopped(asked, 20)
    follow_ups_sweep()
    asked.refresh_from_db()
    assert "stopped before the answer was certain" in asked.problem
    assert not Verdict.with_early.exists()


def test_a_verdict_that_a_crash_has_lost_is_reached_by_the_sweep(asked: Evaluation) -> None:
    stopped(asked)  # no commit, so nothing followed
    assert not asked.judged and not Verdict.with_early.exists()
    follow_ups_sweep()
    assert Verdict.with_early.get().after == asked
    follow_ups_sweep()
    assert Verdict.with_early.count() == 1


def test_without_answers_to_hold_it_against_it_is_refused(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    anchor = bare_model.pretrained
    child = child_of(anchor, "child")
    with pytest.raises(EvaluationError, match="as it came"):
        early_request(checkpoint=anchor, suite=suite, created_by=None)
    with pytest.raises(EvaluationError, match="is not measured by Test suite yet"):
        early_request(checkpoint=child, suite=suite, created_by=None)
    measured(anchor, {})
    with pytest.raises(EvaluationError, match="right or wrong"):
        early_request(checkpoint=child, suite=suite, created_by=None)


def test_one_that_failed_is_queued_again(asked: Evaluation, suite: Suite) -> None:
    Job.objects.filter(pk=asked.job_id).update(state=JobState.FAILED)
    again = early_request(checkpoint=asked.checkpoint, suite=suite, created_by=None)
    assert again == asked and again.job.state == JobState.QUEUED


def test_a_trainer_asks_for_it_and_pages_say_what_it_is(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any, cast: Any, client_of: Any
) -> None:
    measured(bare_model.pretrained, BEFORE)
    child = child_of(bare_model.pretrained, "child")
    panel = reverse("evaluations:checkpoint_panel", args=[child.pk])
    button = "Stop early when the answer is certain"
    tina = client_of(cast.tina)
    assert button in tina.get(panel).content.decode()
    assert button not in client_of(cast.otto).get(panel).content.decode()
    url = reverse("evaluations:measure", args=[child.pk])
    answer = tina.post(url, {"suite": suite.pk, "early": "yes"}, follow=True)
    assert "It stops as soon as the answer is certain." in answer.content.decode()
    asked = Evaluation.with_repeats.exclude(adaptive_key="").get()
    used = stopped(asked)
    follow_ups_sweep()
    page = tina.get(reverse("evaluations:evaluation", args=[asked.pk])).content.decode()
    assert "as soon as the answer was certain" in page and "All benchmarks together" in page
    assert f"{used} of 400 items were asked" in tina.get(panel).content.decode()
    verdict = Verdict.with_early.get()
    report = tina.get(reverse("evaluations:verdict", args=[verdict.pk])).content.decode()
    assert "A first look" in report and f"stopped after {used} of 400 items" in report
    assert "of 400</div>" in report and "Measure all of it" in report
    listed = tina.get(reverse("evaluations:evaluations")).content.decode()
    assert "stops when certain" in listed
    refused = client_of(cast.otto).post(url, {"suite": suite.pk, "early": "yes"})
    assert refused.status_code == 403


def test_the_checkpoints_page_puts_it_after_what_was_measured_whole(
    asked: Evaluation, suite: Suite, measured: Any, cast: Any
) -> None:
    assert panel_of(asked.checkpoint).live == [asked]
    stopped(asked)
    panel = panel_of(asked.checkpoint)
    assert panel.early == [asked] and not panel.live and not panel.blocks
    measured(asked.checkpoint, BEFORE)
    panel = panel_of(asked.checkpoint)
    assert [block.suite for block in panel.blocks] == [suite]
    assert not panel.early  # all of it is known now


@pytest.mark.slow
def test_the_engine_stops_early_through_the_supervisor(
    language_model: Any, held_out: Any, child_of: Any
) -> None:
    """The tiny model against a child with nearly the same weights: nothing is lost."""
    rule = verdict_rule_create(name="Wide", rule=Rule(pooled_margin=0.3, default_margin=0.3))
    suite = suite_create(
        name="Code",
        description="",
        benchmarks=[{"name": "local_code", "source": "local", "limit": 40}],
        held_out_sets=[held_out],
        settings={"max_document_tokens": 64, "window_tokens": 64, "stride_tokens": 32},
        rule=rule,
    )
    anchor = language_model.pretrained
    (first,) = checkpoint_measure(checkpoint=anchor, suite=suite, created_by=None)
    assert job_run_now(first.job).state == JobState.SUCCEEDED
    child = child_of(anchor, "child")
    shutil.copytree(anchor.directory, child.directory)
    weights = bytearray((child.directory / "model.safetensors").read_bytes())
    weights[-4] ^= 1  # the last bit of one weight: other weights, the same answers
    (child.directory / "model.safetensors").write_bytes(weights)
    child.manifest_hash = manifest_write(child.directory)["sha256"]
    child.save()
    early = early_request(checkpoint=child, suite=suite, created_by=None)
    job = job_run_now(early.job)
    assert job.state == JobState.SUCCEEDED, job.error_message
    follow_ups_sweep()
    early.refresh_from_db()
    assert early.measured and not early.problem
    verdict = Verdict.with_early.get(after=early)
    assert verdict.outcome == "retained"
    assert early.items_asked == early.samples.count() < early.items_in_all == 40
