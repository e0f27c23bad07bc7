"""The benchmark's own arithmetic: what baselines are given, and what counting allows."""

from pathlib import Path

import pytest

from benchmarks.training import line_of
from benchmarks.training_cases import Case, baseline_rows
from benchmarks.training_children import Measurement
from benchmarks.training_work import Size, flops_of, model_size
from corpus.encoded import EncodedExample, Segment


def case(*, one_example_a_decision: bool = False) -> Case:
    return Case(
        name="two decisions",
        context_tokens=3,
        decision_tokens=2,
        decisions=2,
        one_example_a_decision=one_example_a_decision,
        must={"trl": 2.0},
        must_memory={},
    )


ENCODED = EncodedExample(
    token_ids=list(range(11)),
    segments=[
        Segment(start=0, end=3, is_decision=False),
        Segment(start=3, end=5, is_decision=True),
        Segment(start=5, end=8, is_decision=False),
        Segment(start=8, end=10, is_decision=True),
        Segment(start=10, end=11, is_decision=False),
    ],
)
NO = -100


def test_a_single_pass_labels_all_decisions_and_ends_with_the_last() -> None:
    (row,) = baseline_rows(case(), ENCODED)
    assert row["input_ids"] == list(range(10))
    assert row["labels"] == [NO, NO, NO, 3, 4, NO, NO, NO, 8, 9]


def test_one_example_a_decision_labels_each_decision_once() -> None:
    first, second = baseline_rows(case(one_example_a_decision=True), ENCODED)
    assert first == {"input_ids": [0, 1, 2, 3, 4], "labels": [NO, NO, NO, 3, 4]}
    assert second["labels"] == [NO] * 8 + [8, 9]
    assert len(second["input_ids"]) == 10


def test_operations_are_counted_as_in_the_theory() -> None:
    size = Size(body=100, head=10)
    assert flops_of(case(), size, frozen=True) == 2 * 100 * 6 + 6 * 110 * 4
    assert flops_of(case(), size, frozen=False) == 6 * 110 * 10
    assert flops_of(case(one_example_a_decision=True), size, frozen=False) == 6 * 110 * (5 + 10)


def test_a_model_s_size_leaves_embeddings_out_of_the_body(tiny_model_directory: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    size = model_size(tiny_model_directory)
    inner = sum(parameter.numel() for parameter in model.model.layers.parameters())
    assert size.body == inner + model.model.norm.weight.numel()
    assert size.head == model.get_output_embeddings().weight.numel()


def test_a_line_has_the_medians_of_the_pairs() -> None:
    def times(*seconds: float) -> list[Measurement]:
        return [Measurement(seconds=one, peak_bytes=100, loss=1.0) for one in seconds]

    result = {"ours": times(1.0, 2.0, 4.0), "trl": times(3.0, 4.0, 4.0), "masked": times(1, 1, 1)}
    line = line_of(case(), "trl", result, Size(body=100, head=10), None)
    assert line["ratio"] == 2.0
    assert line["spread"] == [1.0, 3.0]
    assert (line["must"], line["pairs"], line["seconds"]) == (2.0, 3, [2.0, 4.0])
    assert line["bound"] == pytest.approx(6600 / 3840, abs=0.01)
    assert "matrix_rate_share" not in line
