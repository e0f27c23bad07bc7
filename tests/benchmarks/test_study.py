"""The freezing study: its plan, its statistics, its file of results and its report."""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from benchmarks.study.measures import divergence
from benchmarks.study.plan import FROZEN, FULL, FULL_SHORT, Setting, settings, steps_in_time
from benchmarks.study.plot import plot
from benchmarks.study.records import Records
from benchmarks.study.report import (
    MARKER,
    OUTCOME,
    PREDICTORS,
    freezing_table,
    predictors_table,
    report_write,
)
from benchmarks.study.statistics import correlations, spearman


def run_of(setting: Setting, **changes: Any) -> dict[str, Any]:
    figures = dict.fromkeys([*PREDICTORS, OUTCOME, "lost_prose_nats", "lost_code_nats"], 0.5)
    return {"kind": "run", **setting.to_json(), "steps": 30, **figures, **changes}


def test_the_plan_has_every_combination_once() -> None:
    plan = list(settings())
    assert len(plan) == len(set(plan)) == 4 * 2 * 3 * 3
    assert {one.seed for one in plan[:16]} == {1}
    assert {one.gradient for one in plan[48:]} == {FULL_SHORT}


def test_equal_time_means_fewer_steps_and_at_least_one() -> None:
    assert steps_in_time(30, 1.6) == 19
    assert steps_in_time(30, 100.0) == 1


def test_rank_correlation_by_hand_and_with_ties() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(x, np.array([10.0, 30.0, 20.0, 40.0])) == pytest.approx(0.8)
    assert spearman(x, x**3) == pytest.approx(1.0)
    assert math.isnan(spearman(x, np.ones(4)))


@pytest.mark.slow
def test_intervals_over_cells_are_wider_than_over_runs() -> None:
    rng = np.random.default_rng(0)
    cells = [number // 3 for number in range(30)]
    outcome = np.repeat(rng.standard_normal(10), 3)
    good = outcome + 0.4 * np.repeat(rng.standard_normal(10), 3)
    result = correlations({"good": good, "noise": rng.standard_normal(30)}, outcome, cells)
    low, high = result["good"].over_runs
    wide_low, wide_high = result["good"].over_cells
    assert low < result["good"].value < high
    assert wide_high - wide_low > high - low
    assert result["good"].first_share > 0.9


def test_forward_divergence_is_taken_over_the_whole_vocabulary() -> None:
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    expected = 0.5 * math.log(2.0) + 0.25 * math.log(0.5)
    assert divergence(p.log(), q.log()).item() == pytest.approx(expected, abs=1e-6)


def test_results_are_continued_but_not_those_of_another_study(tmp_path: Path) -> None:
    setting = next(settings())
    file = tmp_path / "runs.jsonl"
    Records(file, {"steps": 30}).add(run_of(setting))
    with file.open("a") as torn:
        torn.write('{"kind": "ru')
    again = Records(file, {"steps": 30})
    assert again.has(setting)
    assert len(again.runs) == 1
    with pytest.raises(SystemExit, match="other data or settings"):
        Records(file, {"steps": 31})


def test_the_report_pairs_seeds_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    runs = []
    for seed, learned in ((1, 0.3), (2, 0.5)):
        for gradient, more in ((FROZEN, 0.0), (FULL, 0.1)):
            setting = Setting(method="adamw", rate=1e-5, gradient=gradient, seed=seed)
            runs.append(run_of(setting, learned_nats=learned + more))
    text = freezing_table(runs)
    assert "| adamw | 1e-05 | equal examples | 2 | -0.100 (-0.100 to -0.100) |" in text
    report = tmp_path / "freezing.md"
    report.write_text(f"# Ours\n\nSaid by people.\n\n{MARKER}\nold")
    report_write(report, "Other", [text])
    assert report.read_text().startswith(f"# Ours\n\nSaid by people.\n\n{MARKER}\n\n| method")
    assert "old" not in report.read_text()


def test_the_plot_is_sound_xml_with_a_mark_for_every_run_and_predictor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.study.statistics.DRAWS", 20)
    plan, names = list(settings()), [*PREDICTORS, OUTCOME]
    runs = [
        run_of(one, **{name: 0.01 * (i * k % 72) for k, name in enumerate(names, 1)})
        for i, one in enumerate(plan)
    ]
    drawn = ElementTree.fromstring(plot(runs, PREDICTORS, OUTCOME, "lost & found"))  # noqa: S314
    marks = drawn.findall(".//{*}circle/{*}title")
    assert len(marks) == len(plan) * len(PREDICTORS)
    assert predictors_table(runs).startswith("72 runs in 24 cells")
