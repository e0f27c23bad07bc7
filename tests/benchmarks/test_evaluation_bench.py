"""`make bench-eval`: what the two sides are given, how their answers are compared, its lines."""

from pathlib import Path

import pytest

from benchmarks.children import Child
from benchmarks.evaluation import Found, first_line, lines_of, second_line, table
from benchmarks.evaluation_portal import SessionCost, candidate_write
from benchmarks.evaluation_sides import (
    Answers,
    Outcome,
    agreement_of,
    benchmarks_of,
    tasks_write,
)


def child(seconds: float, peak_bytes: int = 100) -> Child:
    return Child(output="", seconds=seconds, cpu_seconds=2 * seconds, peak_bytes=peak_bytes)


def cost(seconds: float, measured: int = 1) -> SessionCost:
    return SessionCost(
        seconds=seconds, cpu_seconds=2 * seconds, measured=measured, outcome="retained"
    )


def answers(margins: dict[str, float], score: float = 0.5, seconds: float = 1.0) -> Answers:
    items = {
        ("code", key): Outcome(correct=int(nats > 0), margin_nats=nats)
        for key, nats in margins.items()
    }
    return Answers(scores={"code": score}, items=items, child=child(seconds))


def test_the_command_line_gets_the_engine_s_own_tasks(tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    from evaluation.config import MeasureConfig
    from evaluation.tasks import benchmarks_prepare

    names = tasks_write(tmp_path / "tasks", 2)
    assert set(names.values()) == {
        "local_code",
        "local_reasoning",
        "local_language",
        "local_arithmetic",
        "local_filesystem",
    }
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    tasks = manager.load(list(names))["tasks"]
    (tmp_path / "own").mkdir()
    config = MeasureConfig(model="none", benchmarks=benchmarks_of(2))
    for prepared in benchmarks_prepare(config, tmp_path / "own"):
        ((name, own),) = prepared.tasks.items()
        theirs = tasks[name]
        assert names[name] == prepared.config.name
        assert list(theirs.eval_docs) == list(own.eval_docs)
        for doc in own.eval_docs:
            assert theirs.doc_to_text(doc) == own.doc_to_text(doc)
            assert theirs.doc_to_choice(doc) == own.doc_to_choice(doc)
            assert theirs.doc_to_target(doc) == own.doc_to_target(doc)
        assert theirs.config.target_delimiter == own.config.target_delimiter == ""


def test_the_same_answers_agree_and_the_closest_margin_is_told() -> None:
    ours = answers({"a": 2.0, "b": -0.5, "c": 0.25})
    theirs = answers({"a": 2.0, "b": -0.5 + 1e-6, "c": 0.25})
    result = agreement_of([(ours, theirs), (ours, ours)])
    assert (result.identical, result.items, result.different_items) == (True, 6, 0)
    assert result.nats_difference == pytest.approx(1e-6)
    assert result.closest_nats == 0.25


@pytest.mark.parametrize(
    ("theirs", "different"),
    [
        (answers({"a": 2.0, "b": 0.1}), 1),
        (answers({"a": 2.0}), 1),
        (answers({"a": 2.0, "c": -1.0}), 2),
        (answers({"a": 2.0, "b": -0.1}, score=0.75), 0),
    ],
)
def test_an_item_or_a_score_that_differs_is_seen(theirs: Answers, different: int) -> None:
    result = agreement_of([(answers({"a": 2.0, "b": -0.1}), theirs)])
    assert not result.identical
    assert result.different_items == different


def test_lines_hold_the_medians_of_the_pairs_and_what_is_asked_for() -> None:
    ours, theirs = (
        [child(1.0), child(2.0), child(4.0)],
        [child(2.0, 150), child(2.0, 300), child(2.0)],
    )
    first = first_line("first", ours, theirs)
    assert (first["ratio"], first["first"], first["spread"]) == (1.0, 1.0, [0.5, 2.0])
    assert (first["must"], first["ratio_memory"], first["pairs"]) == ({"first": 1.05}, 1.5, 3)
    second = second_line("both", [cost(4.0), cost(5.0)], [cost(8.0, 2), cost(20.0, 2)])
    assert second["cpu_seconds"] == [9.0, 28.0]
    assert (second["second"], second["ratio"]) == (0.375, 3.0)
    assert second["must"] == {"second": 0.55}


def test_all_lines_of_a_run() -> None:
    result = Found(
        ours=[answers({"a": 1.0}, seconds=2.0)] * 2,
        theirs=[answers({"a": 1.0}, seconds=3.0)] * 2,
        ours_candidate=[answers({"a": -1.0})],
        theirs_candidate=[answers({"a": -1.0}, seconds=5.0), answers({"a": 1.0}, seconds=5.0)],
        both_again=[cost(5.0, 2)] * 2,
        second=[cost(2.5)] * 2,
    )
    scores, first, second, against_theirs = lines_of(result)
    assert scores["identical"] is True and scores["case"] == "scores, 1 items"
    assert scores["pairs"] == 3  # the candidate is measured by both once
    assert (first["case"], first["ratio"]) == ("first evaluation, 1 items", 1.5)
    assert (second["second"], second["models_measured"]) == (0.5, 1)
    assert against_theirs["ratio"] == 3.2
    written = table([scores, first, second, against_theirs])
    assert "identical True" in written and "<= 0.55" in written


def test_a_candidate_is_the_model_with_a_little_noise(
    tiny_model_directory: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from engine.manifest import manifest_check

    made = candidate_write(tiny_model_directory, tmp_path / "made", seed=1)
    before = load_file(tiny_model_directory / "model.safetensors")
    after = load_file(made / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        share = float((after[name] - tensor).norm() / tensor.norm())
        assert share == pytest.approx(0.01, rel=0.2) if tensor.dim() > 1 else share == 0
    assert manifest_check(made)["files"]["tokenizer.json"]
