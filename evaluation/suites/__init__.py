"""The local suite: five small benchmarks that ship with the portal and need no hub.

Each is a file of four-choice items (`local/<name>.jsonl`: group, question, right, three wrong
continuations, spaces included). The model is never asked for a letter: the choice to which it
gives the highest likelihood as a continuation is its answer. No torch here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LOCAL_DIRECTORY = Path(__file__).parent / "local"

_TITLES = {
    "local_code": (
        "Python code",
        "Finish short Python functions and statements, and say what an expression gives.",
    ),
    "local_reasoning": (
        "Everyday reasoning",
        "Causes and effects, what things are for, common facts and one-step inferences.",
    ),
    "local_language": (
        "English",
        "Agreement, word forms, prepositions, word meanings and proverbs.",
    ),
    "local_arithmetic": (
        "Arithmetic",
        "Small sums, products, number sequences and word problems.",
    ),
    "local_filesystem": (
        "Files and commands",
        "Linux commands, paths, and what a directory holds after a few commands.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One local benchmark as a page shows it."""

    name: str
    title: str
    description: str
    item_count: int
    content_hash: str
    """SHA-256 of all items in order; it changes with any item, and with it the task's name."""


@cache
def local_benchmarks() -> tuple[Benchmark, ...]:
    """Return the local benchmarks in the order in which pages list them."""
    return tuple(_benchmark(name) for name in _TITLES)


def local_items(name: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Return a benchmark's items, or the first `limit` of them, in their fixed order.

    Each is {"group", "question", "choices": [4], "answer": index}. The order interleaves the
    groups, and goes by hash within each: so every beginning of it is a stratified sample, the same
    one for every model. Right answers take the four places in turn. KeyError for an unknown name.
    """
    if name not in _TITLES:
        raise KeyError(f"{name} is none of the local benchmarks: {', '.join(_TITLES)}")
    lines = (LOCAL_DIRECTORY / f"{name}.jsonl").read_text(encoding="utf-8").strip().split("\n")
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for line in lines:
        item = json.loads(line)
        order = hashlib.sha256(line.encode()).hexdigest()
        groups.setdefault(item["group"], []).append((order, item))
    # An item's rank within its group, as a share of the group, spreads small groups evenly.
    ranked = [
        ((rank + 0.5) / len(members), group, item)
        for group, members in groups.items()
        for rank, (_, item) in enumerate(sorted(members, key=lambda pair: pair[0]))
    ]
    ranked.sort(key=lambda entry: entry[:2])
    chosen = ranked if limit is None else ranked[:limit]
    return [_with_choices(item, place % 4) for place, (_, _, item) in enumerate(chosen)]


def _with_choices(item: dict[str, Any], answer: int) -> dict[str, Any]:
    choices = list(item["wrong"])
    choices.insert(answer, item["right"])
    shown = {"group": item["group"], "question": item["question"]}
    return {**shown, "choices": choices, "answer": answer}


def _benchmark(name: str) -> Benchmark:
    items = local_items(name)
    title, description = _TITLES[name]
    return Benchmark(
        name=name,
        title=title,
        description=description,
        item_count=len(items),
        content_hash=hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest(),
    )
