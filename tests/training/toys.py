"""Small conversations, and what the tests of the training engine do with them."""

import json
import random
from itertools import count
from pathlib import Path
from typing import Any

from corpus.formats import example_parse
from corpus.ingestion import is_held_out
from corpus.ingestion.engine import main as ingestion_main
from tests.event_log import logged_events

WORDS = [
    "the",
    "ship",
    "sails",
    "at",
    "dawn",
    "and",
    "we",
    "follow",
    "it",
    "across",
    "grey",
    "water",
]


def conversation(number: int, *, decisions: int = 2, any_side: bool = False) -> dict[str, Any]:
    """A short conversation of words; the same number always gives the same one.

    Ingestion never sets it aside, so that ten of them are ten examples to learn from; with
    `any_side` it may, as with one in ten of a user's.
    """
    for draw in (random.Random(f"{number}/{salt}") for salt in count()):

        def text(words: int, draw: random.Random = draw) -> str:
            return " ".join(draw.choice(WORDS) for _ in range(words))

        messages = [{"role": "system", "content": "Be brief."}]
        for _ in range(decisions):
            messages.append({"role": "user", "content": text(6)})
            messages.append({"role": "assistant", "content": text(3)})
        record = {"messages": messages}
        if any_side or not is_held_out(example_parse(record).sha256()):
            return record
    raise AssertionError("count() has no end")


def batch_ingest(directory: Path, model: Path, records: list[Any], rule: str = "all") -> Path:
    """Ingest records as a user would upload them; return the examples.jsonl."""
    directory.mkdir(parents=True)
    source = directory / "source.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    config = {"source": str(source), "tokenizer": str(model), "decision_rule": rule}
    (directory / "config.json").write_text(json.dumps(config))
    assert ingestion_main([str(directory)]) == 0
    output = directory / "attempts/0/output"
    assert (output / "problems.jsonl").read_text() == ""
    return output / "examples.jsonl"


def events_of(directory: Path, attempt: int = 0) -> list[dict[str, Any]]:
    """All events of an attempt."""
    return logged_events(directory / "attempts" / str(attempt) / "events.jsonl")


def recipe_of(model: Path, examples: Path) -> dict[str, Any]:
    """A recipe for the tiny model: ten steps, a state after every fourth."""
    batch = {"key": "b1", "name": "Words", "kind": "general", "path": str(examples)}
    return {
        "model": str(model),
        "anchor_model": str(model),
        "batches": [batch],
        "method": {"name": "adamw"},
        "learning_rate": 1e-3,
        "device": "cpu",
        "threads": 1,
        "save_every_steps": 4,
    }
