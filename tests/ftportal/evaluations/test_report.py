"""The forgetting report: which comparison it shows, and what it says about it."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import checkpoint_distances
from ftportal.checkpoints.services import alias_set
from ftportal.evaluations.models import Suite
from ftportal.evaluations.report import report_of, report_of_verdict
from ftportal.evaluations.services import (
    verdict_rule_create,
    verdicts_reach_possible,
    verdicts_renew,
)
from tests.ftportal.evaluations.known import KNOWN_AFTER, KNOWN_BEFORE, copy_of

pytestmark = pytest.mark.slow

HTMX = {"HX-Request": "true"}
LOST_MUCH = "0" * 300 + "1" * 300 + "0" * 400
"""Against KNOWN_BEFORE: 300 of 1,000 lost."""


@pytest.fixture
def line(bare_model: Any, child_of: Any, measured: Any) -> SimpleNamespace:
    """anchor -> first, which lost a little -> second, which lost much of both."""
    anchor = bare_model.pretrained
    first = child_of(anchor, "first")
    second = child_of(first, "second")
    measured(anchor, {"local_code": KNOWN_BEFORE})
    measured(first, {"local_code": KNOWN_AFTER})
    last = measured(second, {"local_code": LOST_MUCH})
    verdicts_reach_possible(evaluation=last)
    return SimpleNamespace(anchor=anchor, first=first, second=second)


@pytest.fixture
def look(client_of: Callable[[Any], Client], cast: Any) -> Client:
    """Otto, who may only look."""
    return client_of(cast.otto)


def address(checkpoint: Checkpoint) -> str:
    return reverse("evaluations:report", args=[checkpoint.pk])


def test_the_verdict_comes_first_then_figures_items_and_rule(line: Any, look: Client) -> None:
    text = look.get(address(line.second)).content.decode()
    places = [
        text.index(words)
        for words in (
            "Did second forget?",
            "It forgot",
            "Right answers</h2>",
            "Perplexity on held-out text",
            "How far the weights moved",
            "The items that changed",
        )
    ]
    assert places == sorted(places)
    assert "Formulas" in text and "style=" not in text


def test_the_worst_comparison_is_shown_unless_the_address_names_one(
    line: Any, look: Client
) -> None:
    assert report_of(line.first).verdict is not None
    shown = report_of(line.second)
    assert [card.baseline for card in shown.cards] == [line.first, line.anchor]
    assert shown.verdict is not None and shown.verdict.outcome == "forgotten"
    named = report_of(line.second, baseline_key=line.anchor.pk)
    assert named.verdict is not None and named.verdict.before.checkpoint == line.anchor
    page = look.get(address(line.second), {"against": line.anchor.pk}).content.decode()
    assert "compared with" in page and "Since its parent" in page


def test_an_address_that_names_nothing_known_is_answered(line: Any, look: Client) -> None:
    for query in ({"against": "999999"}, {"against": "²"}, {"suite": "abc"}):
        assert look.get(address(line.second), query).status_code == 200
    assert look.get(reverse("evaluations:report", args=[999999])).status_code == 404


def test_lost_and_gained_counts_lead_to_their_items(line: Any, look: Client) -> None:
    page = look.get(address(line.first)).content.decode()
    assert "?change=gained&amp;benchmark=local_code#items" in page
    gained = look.get(address(line.first), {"change": "gained"}, headers=HTMX).content.decode()
    assert "<html" not in gained and "10 items" in gained and "Gained" in gained


def test_items_are_filtered_by_text_and_paged(line: Any, look: Client) -> None:
    query = {"against": line.anchor.pk, "benchmark": "local_code"}
    page = look.get(address(line.second), query).content.decode()
    assert "300 items" in page and "1–10 of 300" in page
    one = look.get(address(line.second), query | {"text": "question 123?"}, headers=HTMX)
    assert "1 item<" in one.content.decode()
    assert "right 123" in one.content.decode() and "wrong 123" in one.content.decode()


def test_a_verdict_keeps_its_address_and_names_the_one_in_force(line: Any, look: Client) -> None:
    old = report_of(line.first).verdict
    assert old is not None
    verdict_rule_create(name="Test rule", rule=Rule(pooled_margin=0.2, default_margin=0.2))
    verdicts_renew()
    page = look.get(reverse("evaluations:verdict", args=[old.pk])).content.decode()
    assert "This pair was judged again by" in page and "See the verdict in force" in page
    assert report_of_verdict(old).verdict == old


def test_an_earlier_champion_stays_a_comparison(line: Any, child_of: Any, measured: Any) -> None:
    model = line.anchor.language_model
    side = child_of(line.anchor, "side")
    alias_set(language_model=model, name="champion", checkpoint=side)
    third = child_of(line.second, "third")
    measured(side, {"local_code": KNOWN_BEFORE})
    verdicts = verdicts_reach_possible(evaluation=measured(third, {"local_code": KNOWN_AFTER}))
    against_side = next(one for one in verdicts if one.before.checkpoint == side)
    alias_set(language_model=model, name="champion", checkpoint=line.first)
    result = report_of_verdict(against_side)
    assert [card.word for card in result.cards] == [
        "The champion",
        "Its parent",
        "The pre-trained model",
        "An earlier champion",
    ]
    assert result.verdict == against_side


def test_it_can_be_read_by_every_suite_that_measured_it(
    line: Any, suite: Suite, measured: Any, look: Client
) -> None:
    small = copy_of(suite, name="Small", settings=suite.settings | {"seed": 1})
    measured(line.first, {"local_code": "11"}, by=small)
    page = look.get(address(line.first)).content.decode()
    assert f'<option value="{small.pk}">Small</option>' in page
    other = look.get(address(line.first), {"suite": small.pk}).content.decode()
    assert "No verdict yet" in other and "is not measured by Small yet" in other


def test_what_is_not_measured_says_so(bare_model: Any, child_of: Any, look: Client) -> None:
    fresh = child_of(bare_model.pretrained, "fresh")
    text = look.get(address(fresh)).content.decode()
    assert "No verdict yet" in text and "It is not measured yet." in text
    assert reverse("evaluations:checkpoint_panel", args=[fresh.pk]) in text
    anchor = look.get(address(bare_model.pretrained)).content.decode()
    assert "It is the model as it came" in anchor


def test_it_is_reached_from_checkpoint_and_panel(line: Any, look: Client) -> None:
    for page in ("checkpoints:checkpoint", "evaluations:checkpoint_panel"):
        text = look.get(reverse(page, args=[line.second.pk])).content.decode()
        assert address(line.second) in text


def test_it_refuses_a_post_and_asks_outsiders_to_log_in(
    line: Any, look: Client, client: Client
) -> None:
    assert look.post(address(line.second)).status_code == 405
    answer = client.get(address(line.second))
    assert answer.status_code == 302 and answer["Location"].startswith(reverse("accounts:login"))


def test_distances_are_read_from_the_engines_file(line: Any) -> None:
    assert checkpoint_distances(line.first).pretrained == 1.0  # the database's, without a file
    line.second.directory.mkdir(parents=True)
    path = line.second.directory / "displacement.json"
    record = {"parent": {"norm": 2.5, "relative": 0.01, "tensors": {}}, "pretrained": None}
    path.write_text(json.dumps(record))
    result = checkpoint_distances(line.second)
    assert (result.parent, result.parent_relative) == (2.5, 0.01)
    assert (result.pretrained, result.pretrained_relative) == (1.0, None)
    path.write_text("[" * 100_000)
    assert checkpoint_distances(line.second).parent is None


def test_a_child_of_the_anchor_has_one_distance(line: Any) -> None:
    line.first.directory.mkdir(parents=True)
    record = {"parent": {"norm": 0.5, "relative": 0.02}, "pretrained": None}
    (line.first.directory / "displacement.json").write_text(json.dumps(record))
    result = checkpoint_distances(line.first)
    assert (result.parent, result.pretrained_relative) == (0.5, 0.02)
