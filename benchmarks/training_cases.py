"""The cases of `make bench-train`: conversations of exact lengths, for engine and baselines.

The text is common words of one token each: what a word means does not change how long it takes.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import Example, Turn, decisions_mark
from training.config import BatchConfig, MethodConfig, RunConfig

IGNORED = -100
"""The label of a token without loss, for transformers and TRL alike."""
_WORDS = (
    *("the", "ship", "sails", "at", "dawn", "and", "people", "stand", "on", "a", "hill", "before"),
    *(
        "it",
        "goes",
        "out",
        "to",
        "sea",
        "with",
        "wind",
        "light",
        "water",
        "stone",
        "paper",
        "house",
    ),
    *("road", "tree", "bird", "night", "morning", "river", "field"),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One conversation that is learnt in every step, and what ours should reach."""

    name: str
    context_tokens: int
    """Before each decision."""
    decision_tokens: int
    """In each decision."""
    decisions: int = 1
    one_example_a_decision: bool = False
    """Baselines read the conversation's beginning again for every decision; else once for all."""
    must: dict[str, float]
    """By baseline: how many times faster ours should be."""
    must_memory: dict[str, float]
    """By baseline: its peak memory by ours, at least."""
    dtype: str = "float32"
    timed_steps: int = 2

    @property
    def lengths(self) -> list[int]:
        """Tokens of the examples that a baseline learns in one step."""
        segment = self.context_tokens + self.decision_tokens
        if self.one_example_a_decision:
            return [segment * (number + 1) for number in range(self.decisions)]
        return [segment * self.decisions]

    @property
    def own_context_tokens(self) -> int:
        """Context tokens that ours reads in one step."""
        return self.context_tokens * self.decisions

    @property
    def own_decision_tokens(self) -> int:
        """Decision tokens of one step, ours and everybody's."""
        return self.decision_tokens * self.decisions


CPU_CASES = (
    Case(
        name="C=1024 D=96 k=1",
        context_tokens=1024,
        decision_tokens=96,
        must={"trl": 3.8, "masked": 2.7},
        must_memory={"trl": 2.0},
    ),
    Case(
        name="C=2048 D=128 k=1",
        context_tokens=2048,
        decision_tokens=128,
        must={"trl": 4.0, "masked": 2.9},
        must_memory={"trl": 1 / 0.45},
    ),
    Case(
        name="2048 tokens, 8 decisions of 64, one example a decision",
        context_tokens=192,
        decision_tokens=64,
        decisions=8,
        one_example_a_decision=True,
        must={"trl": 12.0, "masked": 8.0},
        must_memory={},
        timed_steps=1,
    ),
    Case(
        name="2048 tokens, 8 decisions of 64, a single pass",
        context_tokens=192,
        decision_tokens=64,
        decisions=8,
        must={"trl": 2.6, "masked": 1.9},
        must_memory={},
        timed_steps=1,
    ),
)
GPU_CASES = (
    Case(
        name="GPU, 1B shape, C=4096 D=128 k=1",
        context_tokens=4096,
        decision_tokens=128,
        must={},
        must_memory={},
        dtype="bfloat16",
        timed_steps=10,
    ),
    Case(
        name="GPU, 1B shape, 4096 tokens, 8 decisions of 64, one example a decision",
        context_tokens=448,
        decision_tokens=64,
        decisions=8,
        one_example_a_decision=True,
        must={},
        must_memory={},
        dtype="bfloat16",
        timed_steps=10,
    ),
)


def conversation(case: Case, encoder: ChatEncoder) -> tuple[Example, EncodedExample]:
    """Return a conversation whose segments have exactly the case's lengths."""
    drawn = random.Random(0)  # noqa: S311, words and no secret
    words = [[1, 1] for _ in range(case.decisions)]
    wanted = [case.context_tokens, case.decision_tokens]
    _, encoded = _encode(words, encoder, drawn)
    for counts, overhead in zip(words, _lengths(encoded), strict=True):
        for side in (0, 1):
            counts[side] += wanted[side] - overhead[side]
    example, encoded = _encode(words, encoder, drawn)
    if any(pair != wanted for pair in _lengths(encoded)):
        raise SystemExit(f"The tokenizer does not read one token a word: {_lengths(encoded)}")
    return example, encoded


def _encode(
    words: list[list[int]], encoder: ChatEncoder, drawn: random.Random
) -> tuple[Example, EncodedExample]:
    """Encode user and assistant turns of so many words each; every assistant turn a decision."""
    turns = []
    for asked, answered in words:
        for role, count in (("user", asked), ("assistant", answered)):
            text = " ".join([_WORDS[0], *drawn.choices(_WORDS, k=count - 1)])
            turns.append(Turn(role=role, content=text))
    example = decisions_mark(Example(turns=tuple(turns), format="canonical"), "all")
    return example, encoder.encode(example)


def _lengths(encoded: EncodedExample) -> list[list[int]]:
    """[context, decision] lengths; what follows the last decision does not count."""
    sizes = [segment.end - segment.start for segment in encoded.segments]
    return [sizes[i : i + 2] for i in range(0, len(sizes) - 1, 2)]


def baseline_rows(case: Case, encoded: EncodedExample) -> list[dict[str, list[int]]]:
    """The examples of one step: token ids up to the last decision's end, and their labels."""
    decisions = [segment for segment in encoded.segments if segment.is_decision]
    groups = [[one] for one in decisions] if case.one_example_a_decision else [decisions]
    rows = []
    for group in groups:
        ids = encoded.token_ids[: group[-1].end]
        labels = [IGNORED] * len(ids)
        for segment in group:
            labels[segment.start : segment.end] = ids[segment.start : segment.end]
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def directory_write(directory: Path, case: Case, model: Path, threads: int) -> None:
    """Write config.json and examples.jsonl for the engine, baseline.json for the baselines."""
    example, encoded = conversation(case, ChatEncoder.from_directory(model))
    record = {"line": 1, "sha256": example.sha256(), "held_out": False, **example.to_json()}
    data = directory / "examples.jsonl"
    data.write_text(json.dumps(record) + "\n", encoding="utf-8")
    config = RunConfig(
        model=str(model),
        batches=(BatchConfig(key="b", name="bench", kind="general", path=str(data)),),
        method=MethodConfig(name="adamw"),
        learning_rate=1e-5,
        warmup_steps=1,  # the warm-up step has rate 0: the timed ones begin at the same weights
        epochs=1 + case.timed_steps,
        max_example_tokens=2 * max(case.lengths),
        dtype=case.dtype,
        save_every_steps=1000,
        threads=threads,
    )
    (directory / "config.json").write_text(json.dumps(config.to_json()), encoding="utf-8")
    rows = baseline_rows(case, encoded)
    warm_up = [rows[0]] * (len(rows) - 1) + [rows[-1]]  # the longest once, else the shortest
    baseline: dict[str, Any] = {
        "model": str(model),
        "rows": warm_up + rows * case.timed_steps,
        "examples_per_step": len(rows),
        "learning_rate": config.learning_rate,
        "dtype": case.dtype,
        "threads": threads,
    }
    (directory / "baseline.json").write_text(json.dumps(baseline), encoding="utf-8")
