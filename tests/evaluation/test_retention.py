"""The loss on what sessions set aside, against a hand computation; what cannot be used is named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.conversations import ChatEncoder
from corpus.examples import example_from_json
from tests.event_log import logged_events


def line_of(number: int, *, held_out: bool, words: int = 3) -> dict[str, Any]:
    turns = [
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": "first " * words, "train": number % 2 == 0},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": f"Answer {number}.", "train": True},
    ]
    return {"line": number, "sha256": f"{number:064x}", "held_out": held_out, "turns": turns}


@pytest.fixture
def session(tmp_path: Path) -> dict[str, Any]:
    """A session's config whose batch sets three of eight examples aside."""
    path = tmp_path / "examples.jsonl"
    lines = [line_of(number, held_out=number in (2, 5, 7)) for number in range(8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    return {"key": "12", "name": "Talks", "path": str(path)}


def rows(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "output/retention.jsonl").open()]


def test_the_loss_is_that_of_the_decision_tokens_of_held_out_examples(
    measure_config: dict[str, Any],
    attempt: Any,
    session: dict[str, Any],
    tiny_model_directory: Path,
    tiny_loaded: Any,
) -> None:
    code, directory = attempt(measure_config | {"benchmarks": [], "sessions": [session]})
    assert code == 0
    result = rows(directory)
    assert [row["doc_hash"] for row in result] == [f"{number:064x}" for number in (2, 5, 7)]
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    for row, number in zip(result, (2, 5, 7), strict=True):
        encoded = encoder.encode(example_from_json(line_of(number, held_out=True)))
        ids = encoded.token_ids
        with torch.no_grad():
            logarithms = tiny_loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        decisions = [
            i for part in encoded.segments if part.is_decision for i in range(part.start, part.end)
        ]
        nats = -sum(float(logarithms[i - 1, ids[i]]) for i in decisions)
        assert row["session_key"] == "12"
        assert row["tokens"] == len(decisions)
        assert row["nll_nats"] == pytest.approx(nats, abs=1e-3)
    summary = logged_events(directory / "events.jsonl")[-1]["summary"]
    assert (summary["held_out_example_count"], summary["document_count"]) == (3, 3)


def test_only_sessions_may_be_asked_for_and_limits_take_the_same_examples_for_every_model(
    measure_config: dict[str, Any], attempt: Any, session: dict[str, Any]
) -> None:
    alone = measure_config | {"benchmarks": [], "held_out": []}
    code, first = attempt(alone | {"sessions": [session | {"max_examples": 2}]})
    assert code == 0
    assert [row["doc_hash"][-1] for row in rows(first)] == ["2", "5"]
    code, second = attempt(alone | {"sessions": [session | {"max_tokens": 60}]}, "--attempt", "1")
    assert code == 0
    assert rows(second) == []
    warnings = [one for one in logged_events(second / "events.jsonl") if one["event"] == "warning"]
    assert "3 examples that Talks set aside" in warnings[0]["message"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing on disk"),
        ("not json", "line 1 of Talks is not an example"),
        ('{"held_out": true, "sha256": "a"}', "line 1 of Talks is not an example"),
        ('{"held_out": true, "sha256": "a", "line": 4, "turns": [{"role": "user"}]}', "line 4"),
    ],
)
def test_a_session_that_cannot_be_read_is_named(
    measure_config: dict[str, Any],
    attempt: Any,
    session: dict[str, Any],
    content: str | None,
    words: str,
) -> None:
    path = Path(session["path"])
    path.unlink()
    if content is not None:
        path.write_text(content)
    code, directory = attempt(measure_config | {"benchmarks": [], "sessions": [session]})
    last = logged_events(directory / "events.jsonl")[-1]
    assert (code, last["event"]) == (2, "error")
    assert words in last["message"] and last["cure"]
    assert not (directory / "output").exists()
