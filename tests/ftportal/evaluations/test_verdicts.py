"""Verdicts of pairs, when they are reached, and what pages read of them."""

from typing import Any

import pytest

from evaluation.judging.rule import Rule
from ftportal.checkpoints.services import alias_set
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.evaluations.selectors import (
    baselines,
    changed_items,
    comparison_rows,
    latest_verdict,
    measured_evaluation,
)
from ftportal.evaluations.services import (
    EvaluationError,
    evaluation_request,
    follow_ups_sweep,
    verdict_reach,
    verdict_rule_create,
    verdicts_reach_possible,
    verdicts_renew,
    verdicts_stale,
)
from ftportal.evaluations.signals import verdict_reached
from tests.ftportal.evaluations.known import (
    KNOWN_AFTER,
    KNOWN_BEFORE,
    copy_of,
)

SMALL = {"local_code": "1101", "local_language": "1011"}


def test_known_counts_give_the_known_verdict(bare_model: Any, child_of: Any, measured: Any) -> None:
    before = measured(bare_model.pretrained, {"local_code": KNOWN_BEFORE})
    after = measured(child_of(bare_model.pretrained, "one"), {"local_code": KNOWN_AFTER})
    verdict = verdict_reach(before=before, after=after)
    assert verdict.outcome == "retained"
    row = verdict.evidence["pooled"]
    assert (row["lost"], row["gained"], row["n"]) == (25, 10, 1000)
    assert row["p_non_inferior"] == pytest.approx(0.0117843, abs=5e-8)
    assert row["p_mcnemar"] == pytest.approx(0.0166738, abs=5e-8)
    assert row["interval_95"]["low"] == pytest.approx(-0.0277377, abs=5e-8)
    assert row["interval_95"]["high"] == pytest.approx(-0.0036029, abs=5e-8)
    assert verdict_reach(before=before, after=after) == verdict
    assert Verdict.objects.count() == 1


def test_swapping_the_sides_flips_the_signs(bare_model: Any, child_of: Any, measured: Any) -> None:
    one = measured(bare_model.pretrained, {"local_code": KNOWN_BEFORE})
    other = measured(child_of(bare_model.pretrained, "one"), {"local_code": KNOWN_AFTER})
    there = verdict_reach(before=one, after=other).evidence
    back = verdict_reach(before=other, after=one).evidence
    assert there["pooled"]["difference"] == pytest.approx(-back["pooled"]["difference"])
    assert there["pooled"]["lost"] == back["pooled"]["gained"]
    low, high = there["pooled"]["interval_95"]["low"], back["pooled"]["interval_95"]["high"]
    assert low == pytest.approx(-high)
    texts = there["perplexities"][0], back["perplexities"][0]
    assert texts[0]["ratio"] == pytest.approx(1 / texts[1]["ratio"])


def test_a_rise_in_perplexity_is_forgetting(bare_model: Any, child_of: Any, measured: Any) -> None:
    before = measured(bare_model.pretrained, {"local_code": KNOWN_BEFORE})
    child = child_of(bare_model.pretrained, "one")
    after = measured(child, {"local_code": KNOWN_BEFORE}, nll_nats=2.6)
    verdict = verdict_reach(before=before, after=after)
    assert verdict.outcome == "forgotten" and "Test prose" in verdict.reason


def test_different_items_are_refused(bare_model: Any, child_of: Any, measured: Any) -> None:
    before = measured(bare_model.pretrained, {"local_code": "1101"})
    missing = measured(child_of(bare_model.pretrained, "one"), {"local_code": "110"})
    with pytest.raises(EvaluationError, match="1 items were measured on one side only"):
        verdict_reach(before=before, after=missing)
    changed = measured(child_of(bare_model.pretrained, "two"), {"local_code": "1101"})
    changed.samples.filter(correct=False).update(prompt_hash="0" * 64)
    with pytest.raises(EvaluationError, match="the prompt of an item changed"):
        verdict_reach(before=before, after=changed)
    assert not Verdict.objects.exists()


def test_what_was_measured_differently_is_refused(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    before = measured(bare_model.pretrained, SMALL)
    child = child_of(bare_model.pretrained, "one")
    waiting = evaluation_request(checkpoint=child, suite=suite, created_by=None)
    with pytest.raises(EvaluationError, match="not measured by Test suite yet"):
        verdict_reach(before=before, after=waiting)
    bf16 = measured(child_of(bare_model.pretrained, "two"), SMALL, dtype="bfloat16")
    with pytest.raises(EvaluationError, match="different dtype: float32 before, bfloat16 after"):
        verdict_reach(before=before, after=bf16)
    shorter = copy_of(suite, name="Shorter", settings=suite.settings | {"seed": 1})
    other = measured(child_of(bare_model.pretrained, "three"), SMALL, by=shorter)
    with pytest.raises(EvaluationError, match="ask different things"):
        verdict_reach(before=before, after=other)


def test_a_changed_tokenizer_is_refused_where_tokens_are_compared(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    anchor, child = bare_model.pretrained, child_of(bare_model.pretrained, "one")
    before = measured(anchor, SMALL, tokenizer_sha256="a" * 64)
    after = measured(child, SMALL, tokenizer_sha256="b" * 64)
    assert verdicts_reach_possible(evaluation=after) == []
    after.refresh_from_db()
    assert "have different tokenizers" in after.problem and "bits a byte" in after.problem
    assert not after.judged and not Verdict.objects.exists()
    suite.held_out_sets.clear()  # right and wrong answers alone can be compared
    assert verdict_reach(before=before, after=after).outcome


def test_a_measurement_brings_all_verdicts_that_became_possible(
    suite: Suite,
    bare_model: Any,
    child_of: Any,
    measured: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    heard: list[Any] = []
    anchor = bare_model.pretrained
    champion, candidate = child_of(anchor, "champion"), child_of(anchor, "candidate")
    alias_set(language_model=bare_model, name="champion", checkpoint=champion)
    assert baselines(candidate) == [anchor, champion]
    assert baselines(anchor) == []

    def hear(verdict: Verdict, **_: Any) -> None:
        heard.append(verdict)

    verdict_reached.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            measured(candidate, SMALL)
        assert heard == []
        with django_capture_on_commit_callbacks(execute=True):
            measured(champion, SMALL)
        assert [one.after.checkpoint for one in heard] == [candidate]
        with django_capture_on_commit_callbacks(execute=True):
            measured(anchor, SMALL)
    finally:
        verdict_reached.disconnect(hear)
    pairs = {(one.before.checkpoint.name, one.after.checkpoint.name) for one in heard}
    assert pairs == {
        ("champion", "candidate"),
        ("Bare, pre-trained", "candidate"),
        ("Bare, pre-trained", "champion"),
    }
    assert latest_verdict(candidate, champion, suite) in heard
    assert latest_verdict(champion, candidate) is None
    judged = Evaluation.objects.filter(judged=True).values_list("checkpoint__name", flat=True)
    assert set(judged) == {"champion", "candidate"}


def test_a_refused_pair_is_said_at_the_candidate(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    measured(bare_model.pretrained, {"local_code": "1101"})
    after = measured(child_of(bare_model.pretrained, "one"), {"local_code": "110"})
    assert verdicts_reach_possible(evaluation=after) == []
    after.refresh_from_db()
    assert "cannot be compared" in after.problem and not after.judged


def test_against_the_anchor_a_cumulative_budget_applies_from_the_second_session_on(
    bare_model: Any, child_of: Any, measured: Any
) -> None:
    anchor = bare_model.pretrained
    first = child_of(anchor, "first")
    second = child_of(first, "second")
    before, one, two = (measured(each, SMALL) for each in (anchor, first, second))
    single = verdict_reach(before=before, after=one).evidence["rule"]
    cumulative = verdict_reach(before=before, after=two).evidence["rule"]
    assert single["pooled_margin"] == 0.03
    assert cumulative["pooled_margin"] == pytest.approx(0.06)


def test_a_changed_rule_judges_anew_and_keeps_the_old_verdicts(
    suite: Suite, rule: Any, bare_model: Any, child_of: Any, measured: Any
) -> None:
    before = measured(bare_model.pretrained, {"local_code": KNOWN_BEFORE})
    child = child_of(bare_model.pretrained, "one")
    after = measured(child, {"local_code": KNOWN_AFTER})
    old = verdict_reach(before=before, after=after)
    same = verdict_rule_create(name=rule.name, rule=Rule.from_json(rule.rule))
    assert same == rule and verdicts_renew() == []
    stricter = verdict_rule_create(name=rule.name, rule=Rule(pooled_margin=0.01))
    assert stricter.version == 2
    suite.refresh_from_db()
    assert suite.rule == stricter
    assert verdicts_renew(seconds_most=-1) == [] and verdicts_stale().get() == old
    (new,) = verdicts_renew()
    assert not verdicts_stale().exists()
    assert (old.outcome, new.outcome) == ("retained", "forgotten")
    assert latest_verdict(child, bare_model.pretrained) == new
    assert Verdict.objects.count() == 2 and verdicts_renew() == []


def test_the_sweep_finds_what_was_lost(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    follow_ups_sweep()
    anchor = Evaluation.objects.get()
    assert anchor.checkpoint.is_pretrained
    measured(bare_model.pretrained, SMALL)  # the follow-up of the measurement is lost, as it were
    measured(child_of(bare_model.pretrained, "one"), SMALL)
    assert not Verdict.objects.exists()
    follow_ups_sweep()
    follow_ups_sweep()
    assert Verdict.objects.count() == 1 and Evaluation.objects.count() == 2


def test_comparison_rows_stand_side_by_side(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any
) -> None:
    anchor = bare_model.pretrained
    child, unmeasured = child_of(anchor, "child"), child_of(anchor, "unmeasured")
    measured(anchor, SMALL)
    measured(child, {"local_code": "0101", "local_language": "1011"}, nll_nats=2.1)
    rows: Any = comparison_rows([anchor, child, unmeasured], suite)
    total, code, language, prose = rows
    assert total.is_total and total.n == 8
    assert [cell and cell.value for cell in total.cells] == [0.75, 0.625, None]
    assert code.cells[0].change is None
    assert (code.cells[1].change.lost, code.cells[1].change.gained) == (1, 0)
    assert code.cells[1].change.value == pytest.approx(-0.25)
    assert code.cells[1].change.low < -0.25 < code.cells[1].change.high
    assert language.cells[1].change.value == 0
    assert prose.cells[0].value == pytest.approx(7.39, abs=0.02)
    assert prose.cells[1].change.value == pytest.approx(0.105, abs=0.001)
    assert measured_evaluation(child, suite) and measured_evaluation(unmeasured, suite) is None


def test_changed_items_carry_both_answers(bare_model: Any, child_of: Any, measured: Any) -> None:
    before = measured(bare_model.pretrained, {"local_code": "1100"})
    after = measured(child_of(bare_model.pretrained, "one"), {"local_code": "0110"})
    verdict = verdict_reach(before=before, after=after)
    lost: Any = changed_items(verdict).get()
    assert (lost.answer_before, lost.answer) == ("right 0", "wrong 0")
    assert (lost.margin_nats_before, lost.margin_nats) == (1.5, -0.5)
    gained = changed_items(verdict, change="gained").get()
    assert gained.question == "local_code question 2?"
    assert changed_items(verdict, change="all").count() == 2
    assert changed_items(verdict, change="all", text="question 2").get() == gained
    assert not changed_items(verdict, benchmark="local_language").exists()
