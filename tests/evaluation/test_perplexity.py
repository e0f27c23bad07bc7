"""Likelihoods against a plain loop over every single token."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.perplexity import document_nll_nats, windows


def nll_by_hand(ids: list[int], loaded: Any, contexts: list[int]) -> float:
    """-sum log p(token), each from its own forward pass; `contexts` says where each one begins."""
    sequence = [loaded.prefix_token_id, *ids]
    total = 0.0
    for position in range(1, len(sequence)):
        context = sequence[contexts[position - 1] : position]
        with torch.no_grad():
            logits = loaded.model(torch.tensor([context])).logits[0, -1].double()
        total -= float(logits[sequence[position]] - logits.logsumexp(-1))
    return total


def test_a_document_that_fits_the_window(tiny_loaded: Any) -> None:
    ids = list(b"The quick brown fox, \xc3\xa9!")
    result = document_nll_nats(ids, tiny_loaded, window_tokens=64, stride_tokens=32)
    assert result == pytest.approx(nll_by_hand(ids, tiny_loaded, [0] * len(ids)), rel=1e-5)


def test_a_document_that_slides(tiny_loaded: Any) -> None:
    ids = [65 + i % 26 for i in range(37)]
    result = document_nll_nats(ids, tiny_loaded, window_tokens=12, stride_tokens=5)
    # Token 0 is the prefix. The first window scores 1..11, the next begins at 5 and scores 12..16.
    begins = [0] * 11 + [5 * (1 + (position - 12) // 5) for position in range(12, 38)]
    assert result == pytest.approx(nll_by_hand(ids, tiny_loaded, begins), rel=1e-5)


@given(st.integers(2, 300), st.integers(2, 50), st.data())
def test_every_token_is_scored_once_and_never_without_context(
    length: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window - 1))
    scored: list[int] = []
    for begin, end, first in windows(length, window, stride):
        assert begin < first <= end <= length and end - begin <= window
        assert begin == 0 or first - begin >= window - stride
        scored += range(first, end)
    assert scored == list(range(1, length))


def test_perplexity_and_bits_of_an_attempt(
    measure_config: dict[str, Any], attempt: Any, tiny_loaded: Any
) -> None:
    import json

    measure_config["benchmarks"] = []
    code, directory = attempt(measure_config)
    assert code == 0
    rows = [json.loads(line) for line in (directory / "output/documents.jsonl").open()]
    scores = json.loads((directory / "output/scores.json").read_text())["scores"]
    by_metric = {score["metric"]: score["value"] for score in scores}
    assert [row["tokens"] for row in rows] == [200, 37, 180]  # bytes are tokens, cut at 200
    assert [row["bytes"] for row in rows] == [200, 37, 180]
    nll = sum(row["nll_nats"] for row in rows)
    assert by_metric["perplexity_per_token"] == pytest.approx(math.exp(nll / 417))
    assert by_metric["bits_per_byte"] == pytest.approx(nll / math.log(2) / 417)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a", "sha256": "b"}\n', "line 1"),
        ("nonsense\n", "line 1"),
        ("", "no documents"),
        (None, "does not exist"),
    ],
)
def test_wrong_held_out_files_are_named(
    measure_config: dict[str, Any], attempt: Any, content: str | None, words: str
) -> None:
    from pathlib import Path

    from tests.event_log import logged_events

    path = Path(measure_config["held_out"][0]["path"])
    path.unlink()
    if content is not None:
        path.write_text(content)
    code, directory = attempt(measure_config)
    assert code == 2
    last = logged_events(directory / "events.jsonl")[-1]
    assert last["event"] == "error" and words in last["message"]
    assert not (directory / "output").exists()


def test_a_window_beyond_the_models_positions_is_refused(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    code, _ = attempt(measure_config | {"window_tokens": 4096})
    assert code == 2
