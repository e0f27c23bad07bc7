"""Scores of decisions against a computation by hand; stopping, limits and broken files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.conversations import ChatEncoder
from corpus.examples import example_from_json
from corpus.scored import RECORD, bin_of, decisions_open, decisions_write, histogram_of
from tests.evaluation.test_retention import line_of
from tests.event_log import logged_events


@pytest.fixture
def config(tmp_path: Path, tiny_model_directory: Path) -> dict[str, Any]:
    """Eight examples, half of which have two decisions."""
    path = tmp_path / "examples.jsonl"
    lines = [line_of(number, held_out=number == 3, words=number + 1) for number in range(8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "action": "score",
        "model": str(tiny_model_directory),
        "examples": str(path),
        "device": "cpu",
        "threads": 1,
    }


def by_hand(line: dict[str, Any], model_directory: Path, loaded: Any) -> list[tuple[int, float]]:
    encoded = ChatEncoder.from_directory(model_directory).encode(example_from_json(line))
    ids = encoded.token_ids
    with torch.no_grad():
        logarithms = loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return [
        (
            part.end - part.start,
            float(np.mean([float(logarithms[i - 1, ids[i]]) for i in range(part.start, part.end)])),
        )
        for part in encoded.segments
        if part.is_decision
    ]


def test_every_decision_is_scored_as_by_hand_and_found_again_by_its_offset(
    config: dict[str, Any], attempt: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    code, directory = attempt(config)
    assert code == 0
    table = decisions_open(directory / "output/decisions.npy")
    assert list(table["mean_nats"]) == sorted(table["mean_nats"])
    content = Path(config["examples"]).read_bytes()
    expected = 0
    for number, raw in enumerate(content.splitlines()):
        line = json.loads(raw)
        own = sorted(table[table["example"] == number], key=lambda row: row["decision"])
        scores = by_hand(line, tiny_model_directory, tiny_loaded)
        assert [row["tokens"] for row in own] == [tokens for tokens, _ in scores]
        assert [float(row["mean_nats"]) for row in own] == pytest.approx(
            [mean for _, mean in scores], abs=1e-4
        )
        assert all(content[row["offset"] :].startswith(raw) for row in own)
        expected += len(scores)
    summary = logged_events(directory / "events.jsonl")[-1]["summary"]
    assert (summary["decision_count"], summary["example_count"]) == (expected, 8)
    assert sum(summary["histogram"].values()) == expected


def test_long_examples_are_counted_and_not_scored(config: dict[str, Any], attempt: Any) -> None:
    code, directory = attempt(config | {"max_tokens": 60})
    assert code == 0
    summary = logged_events(directory / "events.jsonl")[-1]["summary"]
    table = decisions_open(directory / "output/decisions.npy")
    assert 0 < summary["too_long_count"] == 8 - len(set(table["example"].tolist()))


def test_a_broken_off_scoring_goes_on_to_the_same_scores(
    config: dict[str, Any], attempt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, whole = attempt(config)
    assert code == 0
    from evaluation import learnability

    original = learnability.decisions_nats
    calls = 0

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError("the machine went down")
        return original(*arguments)

    monkeypatch.setattr(learnability, "_PART_SECONDS", 0.0)  # every example is a part
    monkeypatch.setattr(learnability, "decisions_nats", counted)
    code, broken = attempt(config, "--attempt", "1")
    assert code != 0
    code, again = attempt(config, "--attempt", "2", "--resume", str(broken / "parts"))
    assert (code, calls) == (0, 9)  # three before, one that failed, five after
    scores = (directory / "output/decisions.npy" for directory in (whole, again))
    first, second = (path.read_bytes() for path in scores)
    assert first == second


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}\n", "is not an example"), ("[1]\n", "is not an example"), ("x\n", "is not an example")],
)
def test_what_is_not_an_example_is_named(
    config: dict[str, Any], attempt: Any, content: str, message: str
) -> None:
    with Path(config["examples"]).open("a") as file:
        file.write(content)
    code, directory = attempt(config)
    error = logged_events(directory / "events.jsonl")[-1]
    assert code != 0 and message in error["message"] and "line 9" in error["message"]


def test_a_model_that_is_not_the_one_that_was_asked_for_is_refused(
    config: dict[str, Any], attempt: Any
) -> None:
    code, directory = attempt(config | {"manifest_sha256": "0" * 64})
    error = logged_events(directory / "events.jsonl")[-1]
    assert code != 0 and error["where"] == "model"


def test_bins_hold_what_lies_in_them(tmp_path: Path) -> None:
    assert [bin_of(value) for value in (0.0, -0.1, -0.25, -0.26, -9.9, -50.0)] == [
        -0.25,
        -0.25,
        -0.25,
        -0.5,
        -10.0,
        -10.0,
    ]
    decisions_write(tmp_path / "d.npy", [(0, 0, 0, 3, -0.1), (9, 1, 0, 2, -7.0)])
    table = decisions_open(tmp_path / "d.npy")
    assert table.dtype == RECORD
    assert table["example"].tolist() == [1, 0]
    assert histogram_of(table) == {"-7": 1, "-0.25": 1}
