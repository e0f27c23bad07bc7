"""Every page: success, wrong method, outsider, wrong role, fragment."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evaluation.judging.rule import Rule
from ftportal.evaluations.models import Evaluation, Suite, Verdict, VerdictRule
from ftportal.evaluations.services import (
    evaluation_request,
    follow_ups_sweep,
    verdict_reach,
    verdict_rule_create,
    verdicts_reach_possible,
    verdicts_renew,
)
from ftportal.jobs.models import Job, JobState
from tests.ftportal.evaluations.known import KNOWN_AFTER, KNOWN_BEFORE

HTMX = {"HX-Request": "true"}


@pytest.fixture
def judged(bare_model: Any, child_of: Any, measured: Any) -> SimpleNamespace:
    """An anchor and a child of it, both measured, and the verdict: 25 lost, 10 gained of 1,000."""
    anchor = bare_model.pretrained
    child = child_of(anchor, "careful")
    before = measured(anchor, {"local_code": KNOWN_BEFORE})
    after = measured(child, {"local_code": KNOWN_AFTER})
    (verdict,) = verdicts_reach_possible(evaluation=after)
    return SimpleNamespace(anchor=anchor, child=child, before=before, after=after, verdict=verdict)


@pytest.fixture
def look(client_of: Callable[[Any], Client], cast: Any) -> Client:
    """Otto, who may only look."""
    return client_of(cast.otto)


PAGES = ("evaluations", "evaluation", "verdict", "checkpoint_panel", "suites", "rules")


def address(name: str, judged: SimpleNamespace) -> str:
    keys = {
        "evaluation": judged.after.pk,
        "verdict": judged.verdict.pk,
        "checkpoint_panel": judged.child.pk,
        "measure": judged.child.pk,
    }
    return reverse(f"evaluations:{name}", args=[keys[name]] if name in keys else [])


@pytest.mark.parametrize("name", PAGES)
def test_everybody_with_a_login_may_look(name: str, judged: Any, look: Client) -> None:
    assert look.get(address(name, judged)).status_code == 200


@pytest.mark.parametrize("name", PAGES)
def test_without_login_there_is_nothing(name: str, judged: Any, client: Client) -> None:
    answer = client.get(address(name, judged))
    assert answer.status_code == 302 and answer["Location"].startswith(reverse("accounts:login"))


@pytest.mark.parametrize("name", PAGES)
def test_pages_that_only_show_refuse_a_post(name: str, judged: Any, look: Client) -> None:
    assert look.post(address(name, judged)).status_code == 405


def test_pages_without_anything_say_what_to_do_next(look: Client, bare_model: Any) -> None:
    assert (
        "Nothing was measured yet" in look.get(reverse("evaluations:evaluations")).content.decode()
    )
    assert "No suite yet" in look.get(reverse("evaluations:suites")).content.decode()
    assert "No rule yet" in look.get(reverse("evaluations:rules")).content.decode()
    panel = reverse("evaluations:checkpoint_panel", args=[bare_model.pretrained.pk])
    assert "no suite to measure it by yet" in look.get(panel).content.decode()


def test_the_list_filters_and_has_a_fragment(judged: Any, look: Client) -> None:
    url = reverse("evaluations:evaluations")
    page = look.get(url, {"checkpoint": "careful", "state": "measured"})
    text = page.content.decode()
    assert "<html" in text and ">careful</a>" in text and "Retained" in text
    assert ">Bare, pre-trained</a>" not in text
    fragment = look.get(url, {"state": "failed"}, headers=HTMX).content.decode()
    assert "<html" not in fragment and "No measurement like that" in fragment


def test_a_measurement_shows_its_scores_with_intervals(judged: Any, look: Client) -> None:
    text = look.get(address("evaluation", judged)).content.decode()
    assert "58.5 %" in text and "55.4 % to 61.5 %" in text  # Wilson's interval of 585 of 1,000
    assert "Test prose" in text and "Attention" in text and "sdpa" in text
    assert reverse("evaluations:verdict", args=[judged.verdict.pk]) in text


def test_a_waiting_measurement_shows_its_progress(
    suite: Suite, bare_model: Any, look: Client
) -> None:
    waiting = evaluation_request(checkpoint=bare_model.pretrained, suite=suite, created_by=None)
    text = look.get(reverse("evaluations:evaluation", args=[waiting.pk])).content.decode()
    assert "Progress" in text and reverse("jobs:progress", args=[waiting.job_id]) in text
    panel = reverse("evaluations:checkpoint_panel", args=[bare_model.pretrained.pk])
    assert waiting.job.title in look.get(panel).content.decode()


def test_a_failed_measurement_shows_where_and_the_cure(
    suite: Suite, bare_model: Any, look: Client
) -> None:
    failed = evaluation_request(checkpoint=bare_model.pretrained, suite=suite, created_by=None)
    Job.objects.update(
        state=JobState.FAILED,
        error_where="memory",
        error_message="It ran out.",
        error_cure="Lower the batch size.",
    )
    for url in (
        reverse("evaluations:evaluation", args=[failed.pk]),
        reverse("evaluations:checkpoint_panel", args=[bare_model.pretrained.pk]),
    ):
        text = look.get(url).content.decode()
        assert "It ran out." in text and "Lower the batch size." in text


def test_the_verdict_shows_the_known_numbers(judged: Any, look: Client) -> None:
    text = look.get(address("verdict", judged)).content.decode()
    assert "Did careful forget?" in text and "Retained" in text
    assert "60.0 %" in text and "58.5 %" in text
    assert "−1.5" in text and "−2.8 to −0.4" in text  # 95 %
    assert "at worst −2.5" in text  # one side, with 95 % confidence
    for value in ("0.0118", "0.0167"):  # non-inferiority at a margin of 3 points, exact McNemar
        assert value in text
    assert "at most 3 of 100 right answers may be lost" in text
    assert "25 items" in text and "right 0" in text and "wrong 0" in text
    assert "Traceback" not in text and str(judged.after.job_id) not in text


def test_the_changed_items_filter_page_and_come_as_a_fragment(judged: Any, look: Client) -> None:
    url = address("verdict", judged)
    fragment = look.get(url, {"change": "gained"}, headers=HTMX).content.decode()
    assert "<html" not in fragment and "10 items" in fragment and "Gained" in fragment
    second = look.get(url, {"page": "3"}, headers=HTMX).content.decode()
    assert "21–25 of 25" in second
    none = look.get(url, {"text": "no such words"}, headers=HTMX).content.decode()
    assert "No item like that changed" in none
    back = look.get(url, headers=HTMX | {"HX-History-Restore-Request": "true"}).content.decode()
    assert "<html" in back


def test_an_older_verdict_points_at_the_one_in_force(judged: Any, rule: Any, look: Client) -> None:
    verdict_rule_create(name=rule.name, rule=Rule(pooled_margin=0.01))
    (newer,) = verdicts_renew()
    text = look.get(address("verdict", judged)).content.decode()
    assert "judged again" in text and reverse("evaluations:verdict", args=[newer.pk]) in text


def test_the_panel_shows_the_verdict_and_all_three_side_by_side(
    judged: Any, look: Client, child_of: Any, measured: Any
) -> None:
    grandchild = child_of(judged.child, "second session")
    evaluation = measured(grandchild, {"local_code": KNOWN_AFTER})
    verdicts_reach_possible(evaluation=evaluation)
    url = reverse("evaluations:checkpoint_panel", args=[grandchild.pk])
    text = look.get(url).content.decode()
    assert "<html" not in text
    assert "Pre-trained</a>" in text and "Parent</a>" in text and "This one</a>" in text
    assert "against its parent, careful" in text
    assert text.count("verdict-retained") == 2


def test_the_panel_offers_the_other_suite_to_trainers_only(
    judged: Any, suite: Suite, cast: Any, client_of: Any
) -> None:
    from ftportal.evaluations.services import suite_create

    suite_create(
        name="Full suite",
        description="More.",
        benchmarks=[{"name": "local_code", "source": "local", "limit": None}],
        held_out_sets=[],
        settings={},
        rule=suite.rule,
    )
    url = address("checkpoint_panel", judged)
    assert "Measure with: Full suite" in client_of(cast.tina).get(url).content.decode()
    for other in (cast.otto, cast.rob, cast.leo):
        assert "Measure with" not in client_of(other).get(url).content.decode()


def test_a_trainer_asks_for_a_measurement(
    suite: Suite, bare_model: Any, child_of: Any, cast: Any, client_of: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    url = reverse("evaluations:measure", args=[child.pk])
    answer = client_of(cast.tina).post(url, {"suite": suite.pk}, follow=True)
    assert answer.redirect_chain == [(reverse("checkpoints:checkpoint", args=[child.pk]), 302)]
    assert "2 measurements wait in the queue" in answer.content.decode()
    assert Evaluation.objects.count() == 2
    assert set(Job.objects.values_list("created_by__username", flat=True)) == {"tina"}


def test_asking_again_brings_a_missing_verdict(
    bare_model: Any, child_of: Any, measured: Any, suite: Suite, cast: Any, client_of: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    measured(bare_model.pretrained, {"local_code": "1101"})
    measured(child, {"local_code": "1101"})
    panel = reverse("evaluations:checkpoint_panel", args=[child.pk])
    tina = client_of(cast.tina)
    assert "judge</button>" in tina.get(panel).content.decode()
    url = reverse("evaluations:measure", args=[child.pk])
    answer = tina.post(url, {"suite": suite.pk}, follow=True)
    assert "child is judged by Test suite" in answer.content.decode()
    assert Verdict.objects.count() == 1
    assert "judge</button>" not in tina.get(panel).content.decode()
    again = tina.post(url, {"suite": suite.pk}, follow=True)
    assert "is judged by" in again.content.decode() and Verdict.objects.count() == 1


@pytest.mark.parametrize("name", ["rob", "leo", "otto", "ada"])
def test_nobody_else_may_ask(
    name: str, judged: Any, suite: Suite, cast: Any, client_of: Any
) -> None:
    answer = client_of(getattr(cast, name)).post(address("measure", judged), {"suite": suite.pk})
    assert answer.status_code == 403


def test_asking_needs_a_post_a_login_and_a_suite_that_exists(
    judged: Any, cast: Any, client_of: Any, client: Client
) -> None:
    url = address("measure", judged)
    tina = client_of(cast.tina)
    assert tina.get(url).status_code == 405
    assert tina.post(url, {"suite": "9999"}).status_code == 404
    assert tina.post(url, {"suite": "all of them"}).status_code == 404
    assert client.post(url).status_code == 302


def test_a_refusal_is_told_in_words(
    suite: Suite, bare_model: Any, cast: Any, client_of: Any
) -> None:
    suite.held_out_sets.get().path.unlink()
    url = reverse("evaluations:measure", args=[bare_model.pretrained.pk])
    answer = client_of(cast.tina).post(url, {"suite": suite.pk}, follow=True)
    text = answer.content.decode()
    assert "is not measured" in text and "are missing on disk" in text
    assert not Job.objects.exists()


def test_suites_say_what_is_in_them(suite: Suite, look: Client) -> None:
    text = look.get(reverse("evaluations:suites")).content.decode()
    assert "Python code" in text and "2 of 68 items" in text
    assert "Test prose" in text and "Measured after every run" in text


def form_of(**changes: str) -> dict[str, str]:
    usual = {
        "gate_on": "each",
        "pooled_points": "3",
        "default_points": "7.5",
        "perplexity_percent": "3",
        "certainty_percent": "90",
        "anchor_factor": "2",
        "margin_local_code": "5",
    }
    return usual | changes


def test_an_administrator_changes_the_rule(
    judged: Any, rule: VerdictRule, cast: Any, client_of: Any
) -> None:
    url = reverse("evaluations:rule_edit", args=[rule.pk])
    ada = client_of(cast.ada)
    shown = ada.get(url).content.decode()
    assert 'value="3"' in shown and 'value="95"' in shown
    text = ada.post(url, form_of(), follow=True).content.decode()
    made = VerdictRule.objects.get(version=2)
    assert Rule.from_json(made.rule) == Rule(
        alpha=0.1,
        gate_on="each",
        pooled_margin=0.03,
        default_margin=0.075,
        margins={"local_code": 0.05},
        perplexity_margin_ratio=1.03,
        anchor_factor=2.0,
    )
    assert "1 comparison was judged again" in text
    assert "On every benchmark, at most 7.5 of 100" in text and "On Python code" in text
    assert "1 earlier version" in text
    assert set(Verdict.objects.values_list("rule__version", flat=True)) == {1, 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooled_points": "0"}, "above 0 and below 100"),
        ({"certainty_percent": "40"}, "above 50 and below 100"),
        ({"margin_local_code": "100"}, "above 0 and below 100"),
        ({"perplexity_percent": "abc"}, "Enter a number"),
        ({"pooled_points": "nan"}, "Enter a number"),
        ({"gate_on": "luck"}, "Select a valid choice"),
    ],
)
def test_an_impossible_rule_is_refused_at_its_field(
    rule: VerdictRule, cast: Any, client_of: Any, changes: dict[str, str], message: str
) -> None:
    url = reverse("evaluations:rule_edit", args=[rule.pk])
    answer = client_of(cast.ada).post(url, form_of(**changes))
    text = answer.content.decode()
    assert answer.status_code == 200 and message in text and "Nothing was changed" in text
    assert VerdictRule.objects.count() == 1


def test_only_administrators_change_rules(rule: VerdictRule, cast: Any, client_of: Any) -> None:
    url = reverse("evaluations:rule_edit", args=[rule.pk])
    listed = reverse("evaluations:rules")
    assert url in client_of(cast.ada).get(listed).content.decode()
    for name in ("tina", "rob", "leo", "otto"):
        other = client_of(getattr(cast, name))
        assert other.get(url).status_code == 403
        assert other.post(url, form_of()).status_code == 403
        assert url not in other.get(listed).content.decode()
    assert Client().get(url).status_code == 302


def test_a_problem_with_a_pair_is_shown_with_a_button_for_trainers(
    bare_model: Any, child_of: Any, measured: Any, cast: Any, client_of: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    before = measured(bare_model.pretrained, {"local_code": "1101"})
    after = measured(child, {"local_code": "110"})
    verdicts_reach_possible(evaluation=after)
    url = reverse("evaluations:evaluation", args=[after.pk])
    text = client_of(cast.tina).get(url).content.decode()
    assert "cannot be compared" in text and "Try again" in text
    assert "Try again" not in client_of(cast.otto).get(url).content.decode()
    panel = reverse("evaluations:checkpoint_panel", args=[child.pk])
    assert "cannot be compared" in client_of(cast.otto).get(panel).content.decode()
    assert verdict_reach(before=before, after=before).outcome  # the anchor itself is sound


def test_a_change_with_many_verdicts_does_not_keep_anybody_waiting(
    judged: Any, cast: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftportal.evaluations.rule_views.RENEW_SECONDS", -1.0)
    url = reverse("evaluations:rule_edit", args=[judged.verdict.rule_id])
    text = client_of(cast.ada).post(url, form_of(), follow=True).content.decode()
    assert "No verdict changed. The others follow by themselves" in text
    assert Verdict.objects.count() == 1
    follow_ups_sweep()
    assert Verdict.objects.count() == 2
