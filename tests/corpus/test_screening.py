"""Near duplicates, contamination, secrets and personal data: planted and found, and no more."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.examples import decisions_mark
from corpus.formats import example_parse
from corpus.screening.contamination import ContaminationIndex, Reference
from corpus.screening.duplicates import SIMILARITY, clusters, near_in, shingles, sketch
from corpus.screening.personal import finds_in, redacted
from corpus.screening.runs import Said, said_in
from corpus.screening.slices import FILE, SliceIndex, SliceRuns

WORDS = [
    "a",
    "ship",
    "sails",
    "at",
    "dawn",
    "and",
    "we",
    "follow",
    "it",
    "across",
    "the",
    "grey",
    "water",
    "while",
    "others",
    "sleep",
    "on",
]


def text(draw: random.Random, words: int) -> str:
    return " ".join(f"{draw.choice(WORDS)}{draw.randrange(60)}" for _ in range(words))


def test_planted_near_duplicates_are_found_and_only_those() -> None:
    draw = random.Random(1)
    texts = [text(draw, 80) for _ in range(200)]
    changed = [" ".join(["first", *one.split()[1:]]) for one in texts[:20]]
    twice = texts[5]
    groups = clusters(sketch([*texts, *changed, twice]))
    expected = [sorted([5, 205, 220]), *([n, 200 + n] for n in range(20) if n != 5)]
    assert [sorted(group) for group in groups] == expected


def test_similarity_is_that_of_the_shingles() -> None:
    draw = random.Random(2)
    one = text(draw, 120)
    for at in (5, 15, 30):
        other = " ".join([*(f"x{n}" for n in range(at)), *one.split()[at:]])
        a, b = set(shingles(one)), set(shingles(other))
        jaccard = len(a & b) / len(a | b)
        agree = float((sketch([one])[0] == sketch([other])[0]).mean())
        assert agree == pytest.approx(jaccard, abs=0.2)


def test_a_later_batch_is_held_against_an_earlier_one() -> None:
    draw = random.Random(3)
    texts = [text(draw, 60) for _ in range(50)]
    changed = " ".join([*texts[7].split()[:-1], "end"])
    near = near_in(sketch([changed, text(draw, 60), texts[9]]), sketch(texts))
    assert near.tolist() == [True, False, True]
    assert 0.5 < SIMILARITY < 1


def test_nothing_to_compare() -> None:
    assert clusters(sketch([])) == []
    assert np.asarray(sketch([])).shape == (0, 64)


ITEM = "Which of these rivers flows through the city of Vienna before it reaches the Black Sea"


def talk(question: str, answer: str, system: str = "Be brief.") -> Any:
    turns = [("system", system), ("user", question), ("assistant", answer)]
    messages = [{"role": role, "content": content} for role, content in turns]
    return decisions_mark(example_parse({"messages": messages}), "last")


def said(question: str, answer: str, system: str = "Be brief.") -> list[Said]:
    return said_in(talk(question, answer, system))


def test_what_measures_is_found_in_questions_and_decisions() -> None:
    index = ContaminationIndex(
        [
            Reference(name="Rivers", text=ITEM),
            Reference(name="Short", text="How many legs does a common house spider have?"),
            Reference(name="Tiny", text="Is it so?"),
        ]
    )
    found = index.overlaps(said(f"Please tell me: {ITEM.upper()}?", "The Danube."))
    assert [(one.where, one.name) for one in found] == [("user", "Rivers")]
    assert index.overlaps(said("Tell me something.", f"A quiz asks: {ITEM}"))[0].where == "decision"
    short = index.overlaps(said("So how many legs does a common house spider have", "Eight."))
    assert short[0].name == "Short"
    assert index.overlaps(said("Is it so?", "Yes.")) == []
    assert index.overlaps(said("Hi", "Yes.", system=ITEM)) == []
    assert (
        index.overlaps(
            said_in(talk("Which of these rivers flows through the city of Graz?", "Mur."))
        )
        == []
    )


@pytest.mark.parametrize(
    ("words", "covered"),
    [
        ("mail jo.doe@firma.de now", "mail [email] now"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("call +49 89 1234567 or (555) 123-4567", "call [phone] or [phone]"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [secret]"),
        ("token ghp_0123456789abcdefghijklmnopqrstuvwxyz", "token [secret]"),
    ],
)
def test_personal_data_is_covered(words: str, covered: str) -> None:
    assert redacted(words) == covered


@pytest.mark.parametrize(
    "words",
    [
        "write to someone@example.com",
        "order 1234567890123, sum 4111 1111 1111 1112",
        "version 1.2.3-4 of 2026-11-29 12:00:00",
        "3.14159265358979323846 and 0123456789abcdef0123456789abcdef",
        "a @decorator and x@y",
        "flights HAT001 and HAT002 at 12:30, gate 55-123",
    ],
)
def test_harmless_numbers_are_left_alone(words: str) -> None:
    assert finds_in(words) == []


def test_ingestion_reports_it_by_row(tmp_path: Path, tiny_model_directory: Path) -> None:
    from corpus.ingestion.engine import main

    draw = random.Random(4)
    said = text(draw, 60)
    records = [
        {"prompt": said, "completion": "yes"},
        {"prompt": " ".join(["first", *said.split()[1:]]), "completion": "yes"},
        {"prompt": ITEM, "completion": "jo.doe@firma.de"},
        {"prompt": text(draw, 60), "completion": "no"},
    ]
    source, references = tmp_path / "source", tmp_path / "references.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    references.write_text(json.dumps({"name": "Rivers", "text": ITEM}) + "\n")
    earlier = tmp_path / "first"

    def run(name: str, **more: Any) -> Any:
        directory = tmp_path / name
        directory.mkdir()
        config = {
            "source": str(source),
            "tokenizer": str(tiny_model_directory),
            "references": str(references),
            **more,
        }
        (directory / "config.json").write_text(json.dumps(config))
        assert main([str(directory)]) == 0
        output = directory / "attempts/0/output"
        return output, json.loads((output / "summary.json").read_text())["screening"]

    output, report = run("first")
    near = {"clusters": 1, "examples": 2, "rows": [[1, 2]], "places": [[0, 1]], "sizes": [2]}
    assert report["near"] == near
    (row,) = report["contaminated"]
    assert (row["line"], row["where"], row["name"]) == (3, "user", "Rivers")
    assert report["personal"] == [
        {"line": 3, "turn": 2, "kind": "email", "shown": "jo.… (15 characters)"}
    ]
    assert report["earlier"] == [] and earlier.is_dir()
    _, again = run("again", earlier=[{"key": "7", "name": "Seven", "directory": str(output)}])
    assert again["earlier"] == [{"key": "7", "exact": 4, "near": 4}]


def slice_of(directory: Path, held_out: list[Any], trained: list[Any]) -> SliceIndex:
    directory.mkdir()
    runs = SliceRuns(held_out)
    for example in trained:
        runs.trained(said_in(example))
    runs.save(directory / FILE)
    return SliceIndex([("Logs", directory), ("Gone", directory / "gone")])


def test_words_of_another_batchs_held_out_examples_are_found(tmp_path: Path) -> None:
    draw = random.Random(5)
    asked, answer, phrase = text(draw, 40), text(draw, 60), text(draw, 30)
    held_out = talk(f"{phrase} {asked}", answer)
    index = slice_of(tmp_path / "one", [held_out], [talk(phrase, text(draw, 40))])
    leaked = index.overlap(said("Say it.", f"As said: {answer}"))
    assert leaked is not None and (leaked.where, leaked.name) == ("decision", "Logs")
    assert leaked.excerpt == " ".join(answer.lower().split()[:13])
    assert index.overlap(said(phrase, text(draw, 40))) is None  # it is trained on there too
    fragment = " ".join(answer.split()[:15])  # a sentence that both have by chance
    assert index.overlap(said("Say it.", f"{fragment} {text(draw, 40)}")) is None
    assert index.overlap(said(asked, text(draw, 20))) is not None


def test_of_a_large_slice_every_second_run_is_kept_and_it_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.screening.slices._RUNS_MAX", 200)
    draw = random.Random(6)
    answers = [text(draw, 60) for _ in range(40)]
    index = slice_of(tmp_path / "many", [talk("Say it.", answer) for answer in answers], [])
    assert len(np.load(tmp_path / "many" / FILE)) <= 200
    monkeypatch.setattr("corpus.screening.slices._HITS_MIN", 1)
    monkeypatch.setattr("corpus.screening.slices._SHARE_MIN", 0.0)
    found = sum(index.overlap(said("Say it.", answer)) is not None for answer in answers)
    assert found > 30
