"""Runs side by side: what an address means, the numbers, the messages, the CSV."""

import csv
import io
import math
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from scipy import stats

from ftportal.dashboard.comparison_cells import Cell, Group
from ftportal.dashboard.comparison_table import comparison_groups
from ftportal.dashboard.selectors.comparison import comparison, selection
from ftportal.dashboard.selectors.costs import costs
from ftportal.evaluations.models import Evaluation
from tests.ftportal.dashboard import world

pytestmark = pytest.mark.slow


def address(*runs: Any, **parameters: str) -> str:
    query = "&".join(
        [f"run={run.pk}" for run in runs] + [f"{k}={v}" for k, v in parameters.items()]
    )
    return f"{reverse('dashboard:compare')}?{query}"


def groups_of(*runs: Any, baseline: str = "parent", whole: bool = False) -> dict[str, Group]:
    result = comparison(runs=selection([str(run.pk) for run in runs]).runs, baseline=baseline)
    return {group.title: group for group in comparison_groups(result, whole_recipe=whole)}


def cells(group: Group, title: str) -> list[Cell]:
    return list(next(row.cells for row in group.rows if row.title == title))


def test_it_shows_the_runs_side_by_side(contrast: SimpleNamespace, client_of: Any) -> None:
    response = client_of(contrast.cast.otto).get(address(contrast.careful, contrast.reckless))
    assert response.status_code == 200
    page = response.content.decode()
    for words in ("Careful", "Reckless", "Retained", "Forgotten", "3e-4", "21.50", "Loss"):
        assert words in page
    assert "style=" not in page
    assert "<script>" not in page


def test_it_sends_outsiders_to_the_login(db: None, client: Any) -> None:
    response = client.get(reverse("dashboard:compare"))
    assert response.status_code == 302
    assert reverse("accounts:login") in response["Location"]


def test_it_rejects_post(contrast: SimpleNamespace, client_of: Any) -> None:
    assert client_of(contrast.cast.otto).post(address(contrast.careful)).status_code == 405


def test_the_recipe_shows_only_what_differs(contrast: SimpleNamespace) -> None:
    rows = groups_of(contrast.careful, contrast.reckless)["Recipe"].rows
    shown = {row.title: [cell.text for cell in row.cells] for row in rows}
    assert shown["Learning rate"] == ["1e-5", "3e-4"]
    assert shown["Method"] == ["APOLLO, rank 256", "AdamW"]
    assert shown["Batches"] == ["Answers 75 %, General 25 %", "Answers 100 %"]
    assert "Epochs" not in shown


def test_the_recipe_shows_every_setting_on_demand(contrast: SimpleNamespace) -> None:
    rows = groups_of(contrast.careful, contrast.reckless, whole=True)["Recipe"].rows
    assert {"Epochs", "Seed", "Parent"} <= {row.title for row in rows}


def test_equal_recipes_are_said_to_be_equal(contrast: SimpleNamespace) -> None:
    group = groups_of(contrast.careful, contrast.careful)
    assert group["Recipe"].rows == []
    assert group["Recipe"].note.startswith("Nothing differs")


def tango_limits(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Limits of the 95 % score interval of the difference, by a plain search of its definition."""

    def z(loss: float) -> float:
        a = 2 * n
        b = -lost - gained + (2 * n - lost + gained) * loss
        c = -gained * loss * (1 - loss)
        q = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
        return (lost - gained - n * loss) / math.sqrt(n * (2 * q + loss * (1 - loss)))

    grid = [i / 100_000 for i in range(-99_999, 100_000)]
    inside = [loss for loss in grid if abs(z(loss)) < 1.959963985]
    return -max(inside), -min(inside)


def test_accuracies_are_paired_with_a_score_interval(contrast: SimpleNamespace) -> None:
    group = groups_of(contrast.careful, contrast.reckless)["Benchmarks"]
    careful, reckless = cells(group, "Python code")
    assert (careful.text, careful.note) == ("80.0 %", "0.0 points")
    assert (reckless.text, reckless.note) == ("10.0 %", "−70.0 points")
    assert reckless.value == pytest.approx(0.1)
    assert reckless.change is not None
    assert (reckless.change.lost, reckless.change.gained) == (7, 0)
    low, high = tango_limits(7, 0, 10)
    assert reckless.change.low == pytest.approx(low, abs=2e-5)
    assert reckless.change.high == pytest.approx(high, abs=2e-5)
    assert reckless.tone == "bad"
    assert careful.tone == ""


def test_all_benchmarks_are_pooled(contrast: SimpleNamespace) -> None:
    group = groups_of(contrast.careful, contrast.reckless)["Benchmarks"]
    pooled = cells(group, "All benchmarks together")[1]
    assert pooled.text == "45.0 %"
    assert pooled.change is not None
    assert pooled.change.value == pytest.approx(-7 / 20)
    low, high = tango_limits(7, 0, 20)
    assert pooled.change.low == pytest.approx(low, abs=2e-5)
    assert pooled.change.high == pytest.approx(high, abs=2e-5)


def test_perplexity_is_a_ratio_with_its_interval(contrast: SimpleNamespace) -> None:
    """Documents gain 50 or 60 nats of 100 tokens: R = 0.55, residuals ±5 nats in ten documents."""
    group = groups_of(contrast.careful, contrast.reckless)["Perplexity"]
    careful, reckless = cells(group, "Manual")
    assert careful.value == pytest.approx(math.exp(2))
    assert reckless.value == pytest.approx(math.exp(2.55))
    assert reckless.change is not None
    error = math.sqrt(10 / 9 * 10 * 25) / 1000
    z, k = stats.t.ppf(0.975, 9), 2 / math.sqrt(10)  # wider: docs/decisions/0017
    t = z + k * (2 * z * z + 1) / 6 + 11 * k * k * z * (z * z + 2) / 72
    assert reckless.change.value == pytest.approx(math.exp(0.55) - 1)
    assert reckless.change.low == pytest.approx(math.exp(0.55 - t * error) - 1)
    assert reckless.change.high == pytest.approx(math.exp(0.55 + t * error) - 1)
    assert reckless.note == "+73.3 %"
    assert reckless.tone == "bad"


def test_a_clear_loss_within_the_rule_is_a_warning(contrast: SimpleNamespace) -> None:
    small = world.run_make(name="Small", parent=contrast.anchor)
    world.evaluation_make(
        checkpoint=world.output_of(small),
        suite=contrast.suite,
        right={"local_code": [1] * 8 + [0] * 2, "local_language": [1] * 8 + [0] * 2},
        nll={"Manual": [201.0 + (i % 2) / 10 for i in range(10)], "Library": [200.0] * 10},
    )
    cell = cells(groups_of(contrast.careful, small)["Perplexity"], "Manual")[1]
    assert cell.note == "+1.1 %"
    assert cell.tone == "warn"


def test_the_first_run_can_be_the_baseline(contrast: SimpleNamespace) -> None:
    group = groups_of(contrast.reckless, contrast.careful, baseline="first")["Benchmarks"]
    reckless, careful = cells(group, "Python code")
    assert reckless.note == "the baseline"
    assert careful.note == "+70.0 points"
    assert careful.tone == "good"


def test_the_anchor_can_be_the_baseline(contrast: SimpleNamespace) -> None:
    second = world.run_make(name="Second", parent=contrast.careful.output)
    world.evaluation_make(
        checkpoint=world.output_of(second),
        suite=contrast.suite,
        right={"local_code": [1] * 7 + [0] * 3, "local_language": [1] * 8 + [0] * 2},
        nll={"Manual": [200.0] * 10, "Library": [200.0] * 10},
    )
    group = groups_of(contrast.careful, second, baseline="anchor")["Benchmarks"]
    assert cells(group, "Python code")[1].note == "−10.0 points"


def test_learned_displacement_and_verdict(contrast: SimpleNamespace) -> None:
    groups = groups_of(contrast.careful, contrast.reckless)
    first = cells(groups["What came out"], "Training loss, first steps")
    last = cells(groups["What came out"], "Training loss, last steps")
    assert [cell.value for cell in first] == [3.0, 3.0]
    assert [cell.value for cell in last] == [1.0, 0.25]
    verdict = cells(groups["What came out"], "Verdict")
    assert [cell.badges[0].state for cell in verdict] == ["retained", "forgotten"]
    moved = cells(groups["Weights and time"], "Moved from the parent")
    assert [cell.text for cell in moved] == ["1.25", "21.50"]
    assert cells(groups["Weights and time"], "Time")[0].text == "1 min"


def test_an_open_review_shows_no_findings(contrast: SimpleNamespace) -> None:
    world.spot_check_make(candidate=contrast.careful.output, baseline=contrast.anchor)
    cell = cells(groups_of(contrast.careful, contrast.reckless)["What came out"], "Stage")[0]
    assert cell.text == "In review, 0 of 3"
    assert cell.note == ""


def test_fewer_than_two_runs_ask_for_more(contrast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(contrast.cast.otto)
    assert b"Choose 2 to 8 runs" in client.get(address()).content
    one = client.get(address(contrast.careful)).content.decode()
    assert "One more run is needed" in one
    assert f'value="{contrast.careful.pk}" checked' in one


def test_no_run_at_all_says_what_to_do(cast: SimpleNamespace, client_of: Any) -> None:
    assert b"Nothing to compare yet" in client_of(cast.otto).get(address()).content


@pytest.mark.parametrize("wrong", ["999999", "abc", "-1", "²", "9" * 40])
def test_a_run_that_does_not_exist_is_said(
    contrast: SimpleNamespace, client_of: Any, wrong: str
) -> None:
    page = client_of(contrast.cast.otto).get(address(contrast.careful) + f"&run={wrong}")
    assert page.status_code == 200
    assert "One run of this address cannot be found" in page.content.decode()


def test_more_than_eight_runs_are_cut_and_said(contrast: SimpleNamespace, client_of: Any) -> None:
    runs = [
        world.run_make(name=f"Run {number}", parent=contrast.anchor, state="queued")
        for number in range(9)
    ]
    page = client_of(contrast.cast.otto).get(address(*runs)).content.decode()
    assert "at most 8 fit side by side" in page
    assert "Leave out Run 7" in page
    assert "Leave out Run 8" not in page


def test_a_double_counts_once(contrast: SimpleNamespace) -> None:
    assert len(selection([str(contrast.careful.pk)] * 3).runs) == 1


def test_a_run_without_evaluation_says_so(contrast: SimpleNamespace) -> None:
    waiting = world.run_make(name="Waiting", parent=contrast.anchor, state="running")
    fresh = world.run_make(name="Fresh", parent=contrast.anchor)
    failed = world.run_make(
        name="Failed", parent=contrast.anchor, state="failed", job={"exit_code": 3}
    )
    group = groups_of(contrast.careful, waiting, fresh, failed)["Benchmarks"]
    first = cells(group, "All benchmarks together")
    notes = [cell.note for cell in first[1:]]
    assert notes == ["still training", "not measured yet", "no checkpoint: diverged"]
    assert all(cell.value is None for cell in first[1:])


def test_an_unmeasured_baseline_is_said(contrast: SimpleNamespace) -> None:
    unmeasured = world.run_make(name="Unmeasured", parent=contrast.careful.output)
    child = world.run_make(name="Child", parent=world.output_of(unmeasured))
    world.evaluation_make(
        checkpoint=world.output_of(child), suite=contrast.suite, right={"local_code": [1]}, nll={}
    )
    cell = cells(groups_of(contrast.careful, child)["Benchmarks"], "Python code")[1]
    assert cell.note == "Unmeasured is not measured yet"


def test_different_items_are_refused_not_compared(contrast: SimpleNamespace) -> None:
    other = world.run_make(name="Other", parent=contrast.anchor)
    world.evaluation_make(
        checkpoint=world.output_of(other),
        suite=contrast.suite,
        right={"local_code": [1] * 4},
        nll={"Manual": [200.0] * 3},
    )
    groups = groups_of(contrast.careful, other)
    assert "measured on one side only" in cells(groups["Benchmarks"], "Python code")[1].note
    assert cells(groups["Perplexity"], "Manual")[1].change is None


def test_different_models_compare_by_bits_per_byte(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    """The other tokenizer makes half as many tokens; 300 nats of 400 bytes against 200."""
    other = world.model_make("Other")
    run = world.run_make(name="Elsewhere", parent=other.pretrained)
    right = {"local_code": [1] * 10, "local_language": [1] * 10}
    nll = {"Manual": [300.0] * 10, "Library": [200.0] * 10}
    world.evaluation_make(
        checkpoint=world.output_of(run), suite=contrast.suite, right=right, nll=nll, tokens=50
    )
    groups = groups_of(contrast.careful, run, baseline="first")
    assert "Perplexity" not in groups
    assert "different language models" in groups["Bits per byte"].note
    cell = cells(groups["Bits per byte"], "Manual")[1]
    assert cell.value == pytest.approx(300 / 400 / math.log(2))
    assert cell.change is not None
    assert cell.change.value == pytest.approx(100 / 400 / math.log(2))
    page = client_of(contrast.cast.otto).get(address(contrast.careful, run, base="first"))
    assert b"so that their tokens differ" in page.content


def test_a_changed_tokenizer_compares_by_bits_per_byte(contrast: SimpleNamespace) -> None:
    """Within one model too: only the hash that the engine told says so."""
    careful, reckless = contrast.careful, contrast.reckless
    measured = Evaluation.objects.filter(checkpoint=world.output_of(reckless))
    measured.update(settings={"tokenizer_sha256": "a"})
    assert "Perplexity" in groups_of(careful, reckless)  # the others do not say: older ones
    anchor = Evaluation.objects.filter(checkpoint=contrast.anchor)
    assert anchor.update(settings={"tokenizer_sha256": "b"}) == 1
    assert "changed the tokenizer" in groups_of(careful, reckless)["Bits per byte"].note
    pair = (contrast.anchor, world.output_of(reckless))
    cost = costs([pair])[pair[0].pk, pair[1].pk]
    assert cost is not None and cost.answers is not None
    assert not cost.texts


def test_an_unknown_baseline_falls_back(contrast: SimpleNamespace, client_of: Any) -> None:
    page = client_of(contrast.cast.otto).get(
        address(contrast.careful, contrast.reckless, base="nonsense")
    )
    assert b"difference to each run&#x27;s parent" in page.content


def test_the_csv_has_plain_numbers(contrast: SimpleNamespace, client_of: Any) -> None:
    response = client_of(contrast.cast.otto).get(
        address(contrast.careful, contrast.reckless, format="csv")
    )
    assert response["Content-Type"].startswith("text/csv")
    assert "attachment" in response["Content-Disposition"]
    rows = {row[1]: row for row in csv.reader(io.StringIO(response.content.decode()))}
    assert rows["measure"][3:5] == ["Careful", "Careful: difference"]
    code = rows["Python code"]
    assert float(code[3]) == pytest.approx(0.8)
    assert float(code[7]) == pytest.approx(0.1)
    assert float(code[8]) == pytest.approx(-0.7)
    assert rows["Learning rate"][3] == "1e-5"
    assert rows["Verdict"][7].startswith("forgotten against")


def test_the_csv_runs_no_formula(contrast: SimpleNamespace, client_of: Any) -> None:
    evil = world.run_make(name="=HYPERLINK(1)", parent=contrast.anchor, state="queued")
    response = client_of(contrast.cast.otto).get(address(contrast.careful, evil, format="csv"))
    (head, *rows) = csv.reader(io.StringIO(response.content.decode()))
    assert head[7] == "'=HYPERLINK(1)"
    differences = [float(row[4]) for row in rows if row[4]]
    assert differences, "numbers stay numbers"
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


def test_eight_runs_cost_no_more_queries_than_two(
    contrast: SimpleNamespace, client_of: Any, django_assert_max_num_queries: Any
) -> None:
    runs = [contrast.careful, contrast.reckless] + [
        world.run_make(name=f"Run {number}", parent=contrast.anchor, losses=[1.0, 2.0])
        for number in range(6)
    ]
    client = client_of(contrast.cast.otto)
    with django_assert_max_num_queries(32):
        assert client.get(address(*runs)).status_code == 200
