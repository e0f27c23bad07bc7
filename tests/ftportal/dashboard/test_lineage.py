"""The tree of checkpoints, and what a line through it has lost since the pre-trained model."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.checkpoints.services import alias_set
from ftportal.dashboard.figures import line_charts
from ftportal.dashboard.selectors.line import line_of
from ftportal.dashboard.selectors.lineage import tree
from ftportal.promotions.selectors import stage, stages
from tests.ftportal.dashboard import world

pytestmark = pytest.mark.slow

LINEAGE = "/lineage/"


@pytest.fixture
def grown(contrast: SimpleNamespace) -> SimpleNamespace:
    """careful -> second -> third (champion), a trial beside second, and one after the champion."""
    flat = {"Manual": [200.0] * 10, "Library": [200.0] * 10}
    last = contrast.careful.output
    for number, name in enumerate(("Second", "Third"), start=2):
        run = world.run_make(name=name, parent=last, submitter=contrast.cast.tina, moved=[1.0])
        right = {"local_code": [1] * (9 - number) + [0] * (1 + number), "local_language": [1] * 10}
        nll = flat | {"Manual": [200.0 + number + i / 10 for i in range(10)]}
        evaluation = world.evaluation_make(
            checkpoint=world.output_of(run), suite=contrast.suite, right=right, nll=nll
        )
        world.judged(contrast.evaluation_before, evaluation)
        if name == "Second":
            world.run_make(name="Trial", parent=last)
        last = run.output
    alias_set(language_model=contrast.model, name="champion", checkpoint=last)
    world.run_make(name="After", parent=last)
    contrast.champion = last
    return contrast


def test_it_shows_tree_and_line(grown: SimpleNamespace, client_of: Any) -> None:
    page = client_of(grown.cast.otto).get(LINEAGE)
    assert page.status_code == 200
    text = page.content.decode()
    for words in ("From pre-training to Third", "Trial", "Reckless", "Champion", "data-chart"):
        assert words in text
    assert "style=" not in text


def test_it_sends_outsiders_to_the_login(db: None, client: Any) -> None:
    response = client.get(LINEAGE)
    assert response.status_code == 302
    assert reverse("accounts:login") in response["Location"]


def test_it_rejects_post(cast: SimpleNamespace, client_of: Any) -> None:
    assert client_of(cast.otto).post(LINEAGE).status_code == 405


def test_an_empty_portal_says_what_to_do(cast: SimpleNamespace, client_of: Any) -> None:
    assert b"Register a model" in client_of(cast.ada).get(LINEAGE).content


def test_the_champions_line_keeps_to_the_left(grown: SimpleNamespace) -> None:
    rows = [(node.checkpoint.name, node.branch.level) for node in tree(grown.model)]
    assert rows == [
        ("Tiny, pre-trained", 0),
        ("Reckless", 1),
        ("Careful", 0),
        ("Trial", 1),
        ("Second", 0),
        ("Third", 0),
        ("After", 1),
    ]


def test_lines_end_where_nothing_follows(grown: SimpleNamespace) -> None:
    drawn = {node.checkpoint.name: node.branch for node in tree(grown.model)}
    assert drawn["Tiny, pre-trained"].goes_on
    assert not drawn["Tiny, pre-trained"].joins_above
    assert drawn["Reckless"].rails == [True]
    assert drawn["Second"].joins_above
    assert drawn["Third"].goes_on  # the branch below it depends on its line
    assert drawn["After"].rails == [False]
    assert not drawn["After"].goes_on


def test_a_branch_that_goes_on_leaves_the_line_where_it_branched_off(
    grown: SimpleNamespace,
) -> None:
    after = grown.champion.children.get()
    world.run_make(name="Last", parent=after)
    drawn = {node.checkpoint.name: node.branch for node in tree(grown.model)}
    assert drawn["After"].rails == [False]
    assert drawn["After"].goes_on
    assert drawn["Last"].joins_above
    assert drawn["Last"].rails == [False]


def test_a_long_line_neither_indents_nor_recurses(contrast: SimpleNamespace) -> None:
    last = contrast.careful.output
    for number in range(40):
        last = world.checkpoint_make(name=f"Link {number}", parent=last)
    levels = {node.branch.level for node in tree(contrast.model)}
    assert levels == {0, 1}  # everything branches once off the pre-trained champion


def test_nodes_know_their_verdict_and_cost(grown: SimpleNamespace) -> None:
    nodes = {node.checkpoint.name: node for node in tree(grown.model)}
    reckless = nodes["Reckless"]
    assert reckless.verdict == grown.verdict_reckless
    assert reckless.stage == "forgotten"
    assert reckless.cost is not None
    assert reckless.cost.answers is not None
    assert reckless.cost.answers.value == pytest.approx(-35.0)
    assert nodes["Third"].stage == "champion"
    assert nodes["After"].cost is None
    assert nodes["Tiny, pre-trained"].run is None


def test_small_losses_add_up_along_the_line(grown: SimpleNamespace) -> None:
    """Careful lost nothing, second one of 20 (and gained two), third one more."""
    line = line_of(grown.champion)
    answers = [one.accuracy.percents for one in line.sessions]
    assert [one["total"] for one in answers] == pytest.approx([0.0, 5.0, 0.0])
    assert [one["alone"] for one in answers] == pytest.approx([0.0, 5.0, -5.0])
    manual = [one.perplexity["Manual"].percents for one in line.sessions]
    assert [one["total"] for one in manual] == pytest.approx([0.0, 2.4802, 3.5103], abs=1e-3)
    assert [one["alone"] for one in manual] == pytest.approx([0.0, 2.4802, 1.0050], abs=1e-3)
    assert [one.verdict is None for one in line.sessions] == [False, False, False]


def test_the_budget_grows_once_with_the_second_session(grown: SimpleNamespace) -> None:
    line = line_of(grown.champion)
    allowed = [one.accuracy.percents["allowed"] for one in line.sessions]
    assert allowed == pytest.approx([-20.0, -40.0, -40.0])
    texts = [one.perplexity["Manual"].percents["allowed"] for one in line.sessions]
    assert texts == pytest.approx([3.0, 100 * (1.03**2 - 1), 100 * (1.03**2 - 1)])
    assert not any(entry.is_beyond for one in line.sessions for entry in one.entries)
    assert line_of(grown.reckless.output).sessions[0].perplexity["Manual"].is_beyond
    assert line_of(grown.reckless.output).sessions[0].accuracy.is_beyond


def test_the_charts_start_at_the_pretrained_model(grown: SimpleNamespace) -> None:
    accuracy, perplexity = line_charts(line_of(grown.champion))
    assert [row[0] for row in accuracy.rows] == ["0", "1", "2", "3"]
    assert perplexity.rows[0][1:] == ["0", "0", "3"]
    assert list(accuracy.columns) == ["session", "All benchmarks together", "Allowed in all"]
    assert [row[-1] for row in accuracy.rows] == ["-20", "-20", "-40", "-40"]


def test_a_missing_interval_is_a_gap_and_no_zero(contrast: SimpleNamespace) -> None:
    run = world.run_make(name="One text", parent=contrast.anchor)
    alone = world.suite_make(sets={"Note": "prose"}, name="One document")
    for one, nats in ((contrast.anchor, 200.0), (world.output_of(run), 210.0)):
        world.evaluation_make(checkpoint=one, suite=alone, right={}, nll={"Note": [nats]})
    (chart,) = line_charts(line_of(world.output_of(run)))
    assert "NaN" in str(chart.item) or "nan" in str(chart.item)
    assert chart.rows[1][1] == "10.52"  # e^0.1 - 1 in percent


def test_another_line_can_be_chosen(grown: SimpleNamespace, client_of: Any) -> None:
    client = client_of(grown.cast.otto)
    page = client.get(f"{LINEAGE}?line={grown.reckless.output.pk}").content.decode()
    assert "From pre-training to Reckless" in page
    assert client.get(f"{LINEAGE}?line=999999").status_code == 404
    assert client.get(f"{LINEAGE}?line=nonsense").status_code == 200


def test_gaps_in_the_line_are_said(grown: SimpleNamespace, client_of: Any) -> None:
    after = grown.champion.children.get()
    page = client_of(grown.cast.otto).get(f"{LINEAGE}?line={after.pk}").content.decode()
    assert "Not measured by Quick look, so left out: After." in page


def test_an_unmeasured_line_says_so(cast: SimpleNamespace, data_dir: Any, client_of: Any) -> None:
    run = world.run_make(name="Only", parent=world.model_make().pretrained)
    page = client_of(cast.otto).get(f"{LINEAGE}?line={world.output_of(run).pk}").content.decode()
    assert "Nothing can be drawn yet" in page


def test_the_model_is_chosen_by_name(contrast: SimpleNamespace, client_of: Any) -> None:
    world.model_make("Other")
    page = client_of(contrast.cast.otto).get(f"{LINEAGE}?model=Other").content.decode()
    assert "Other, pre-trained" in page
    assert "Reckless" not in page


def test_stages_of_many_are_the_stages_of_each(grown: SimpleNamespace) -> None:
    world.spot_check_make(
        candidate=grown.champion.children.get(), baseline=grown.champion, state="generating"
    )
    checkpoints = list(grown.model.checkpoints.all())
    many = stages([one.pk for one in checkpoints])
    assert many == {one.pk: stage(one) for one in checkpoints}
    assert {"champion", "pre-trained", "forgotten", "in review", "candidate"} <= set(many.values())


def test_queries_do_not_grow_with_the_tree(
    grown: SimpleNamespace, client_of: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        world.run_make(name=f"Branch {number}", parent=grown.champion)
    client = client_of(grown.cast.otto)
    with django_assert_max_num_queries(36):
        assert client.get(LINEAGE).status_code == 200


def test_who_may_not_register_a_model_gets_no_button(cast: SimpleNamespace, client_of: Any) -> None:
    page = client_of(cast.otto).get(LINEAGE).content
    assert b"No model yet" in page
    assert reverse("checkpoints:model_new").encode() not in page
