"""Benchmarks of one's own: what is refused by line, and what the engine makes of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.suites.items import (
    CHOICES,
    PROBLEMS_KEPT,
    WORDS,
    content_hash,
    items_read,
    items_write,
    kind_of,
)
from tests.event_log import logged_events

CHOICE_LINES = [
    {"question": "The sky is", "choices": ["blue", "green"], "answer": 0},
    {"question": "Grass is", "choices": ["blue", "green", "red"], "answer": "green"},
    {"question": "Blood is", "choices": ["red ", "blue"], "answer": "red", "cluster": "body"},
]
WORD_LINES = [
    {"question": "2 + 2 =", "answer": "4"},
    {"question": "The capital of France is", "answer": " Paris "},
]


def text_of(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_items_of_both_kinds_are_read_and_written_alike_again() -> None:
    items, problems = items_read(text_of(CHOICE_LINES))
    assert problems == [] and kind_of(items) == CHOICES
    assert [one.answer for one in items] == [0, 1, 0]
    assert items[2].choices == ("red", "blue") and items[2].cluster == "body"
    words, problems = items_read("\n" + text_of(WORD_LINES).replace("\n", "\n\n"))
    assert problems == [] and kind_of(words) == WORDS
    assert [one.answer for one in words] == ["4", "Paris"]
    for kept in (items, words):
        text = items_write(kept)
        again, _ = items_read(text.replace(', "cluster": ""', ""))
        assert again == kept
        assert content_hash(items_write(kept[::-1])) != content_hash(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ('{"question": NaN, "answer": "4"}', "NaN"),
        ("[1]", "not a JSON object"),
        ('{"question": "Why?"}', "it has no answer"),
        ('{"question": "Why?", "answer": ""}', "answer is not text, or is empty"),
        ('{"question": "Why?", "answer": 4}', "the answer is not text"),
        ('{"question": "Why?", "answer": "a\\nb"}', "several lines"),
        ('{"question": " ", "answer": "4"}', "question is not text, or is empty"),
        ('{"question": "Why?", "anwser": "4"}', "no field 'anwser'"),
        ('{"question": "Why?", "answer": "\\ud800"}', "surrogate"),
        ('{"question": "a\\u0000", "answer": "4"}', "NUL"),
        ('{"question": "Why?", "choices": ["a", "b"]}', "has no answer"),
        ('{"question": "Why?", "choices": ["a", "b"], "answer": 2}', "none of its 2 choices"),
        ('{"question": "Why?", "choices": ["a", "b"], "answer": true}', "none of its choices"),
        ('{"question": "Why?", "choices": ["a", "b"], "answer": "c"}', "none of its choices"),
        ('{"question": "Why?", "choices": ["a"], "answer": 0}', "2 to 26"),
        ('{"question": "Why?", "choices": ["a", "a "], "answer": 0}', "the same"),
        ('{"question": "Why?", "choices": ["a", 1], "answer": 0}', "choice 2"),
        (json.dumps({"question": "x" * 20_001, "answer": "4"}), "20,001 characters"),
    ],
)
def test_what_cannot_be_an_item_is_told_by_line(line: str, message: str) -> None:
    good = '{"question": "How?", "answer": "so"}\n'
    if "choices" in line:
        good = '{"question": "How?", "choices": ["a", "b"], "answer": 0}\n'
    _, problems = items_read(good + line)
    (problem,) = problems
    assert problem.line == 2 and message in problem.message and problem.cure


def test_repeated_items_mixed_kinds_and_empty_files_are_refused() -> None:
    _, problems = items_read(text_of([WORD_LINES[0], WORD_LINES[1], WORD_LINES[0]]))
    assert [(one.line, one.message) for one in problems] == [(3, "the same item stands on line 1")]
    _, problems = items_read(text_of([WORD_LINES[0], CHOICE_LINES[0]]))
    assert problems[0].line == 2 and "two benchmarks" in problems[0].cure
    _, problems = items_read("\n \n")
    assert problems[0].line == 0 and "no item" in problems[0].message
    _, problems = items_read("{\n" * 200)
    assert len(problems) == PROBLEMS_KEPT


def own(tmp_path: Path, records: list[Any], name: str = "own_test", **fields: Any) -> Any:
    items, problems = items_read(text_of(records))
    assert problems == []
    path = tmp_path / f"{name}.jsonl"
    path.write_text(items_write(items))
    file = {"path": str(path), "content_hash": content_hash(items_write(items))}
    return {"name": name, "source": "own", **file, **fields}


def test_the_engine_measures_them(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    benchmarks = [own(tmp_path, CHOICE_LINES), own(tmp_path, WORD_LINES, name="own_words")]
    code, directory = attempt(measure_config | {"benchmarks": benchmarks, "held_out": []})
    assert code == 0
    lines = (directory / "output/samples.jsonl").read_text().splitlines()
    rows = {json.loads(line)["question"]: json.loads(line) for line in lines}
    assert len(rows) == 5
    assert rows["Grass is"]["target"] == "green" and rows["Blood is"]["cluster"] == "body"
    assert rows["The sky is"]["cluster"] is None
    assert rows["2 + 2 ="]["target"] == "4" and rows["2 + 2 ="]["benchmark"] == "own_words"
    assert all(row["margin_nats"] is not None for row in rows.values())


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85"])
def test_signs_that_end_a_line_elsewhere_end_none_here(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path, sign: str
) -> None:
    odd = {"question": f"Grass{sign}is", "choices": [f"gr{sign}een", "r"], "answer": 0}
    benchmark = own(tmp_path, [*CHOICE_LINES, odd])
    code, directory = attempt(measure_config | {"benchmarks": [benchmark], "held_out": []})
    assert code == 0
    rows = [json.loads(line) for line in (directory / "output/samples.jsonl").open()]
    assert len(rows) == len(CHOICE_LINES) + 1
    assert f"gr{sign}een" in {row["target"] for row in rows}


def test_accuracy_counts_and_stands_beside_the_one_by_length(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    code, directory = attempt(
        measure_config | {"benchmarks": [own(tmp_path, CHOICE_LINES)], "held_out": []}
    )
    assert code == 0
    scores = json.loads((directory / "output/scores.json").read_text())["scores"]
    first, beside = (one for one in scores if one["benchmark"] == "own_test")
    assert (first["metric"], first["unit"], beside["metric"]) == ("acc", "share", "acc_norm")


def test_a_limit_takes_the_same_items_wherever_they_stand_and_changed_ones_are_refused(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    asked = set()
    for number, records in enumerate((CHOICE_LINES, CHOICE_LINES[::-1])):
        benchmark = own(tmp_path, records, limit=2)
        code, directory = attempt(
            measure_config | {"benchmarks": [benchmark], "held_out": []}, "--attempt", str(number)
        )
        assert code == 0
        lines = (directory / "output/samples.jsonl").read_text().splitlines()
        asked.add(tuple(sorted(json.loads(line)["doc_hash"] for line in lines)))
    assert len(asked) == 1
    for number, (spoil, words) in enumerate(
        [
            (lambda path: path.write_text(items_write([])), "not those that were chosen"),
            (lambda path: path.unlink(), "missing on disk"),
        ]
    ):
        benchmark = own(tmp_path, CHOICE_LINES)
        spoil(Path(benchmark["path"]))
        code, directory = attempt(
            measure_config | {"benchmarks": [benchmark], "held_out": []},
            "--attempt",
            str(7 + number),
        )
        last = logged_events(directory / "events.jsonl")[-1]
        assert (code, last["where"]) == (2, "benchmark own_test") and words in last["message"]
