"""One ingestion from its config to its output: the passes that it asks for, and one summary."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from corpus.ingestion.config import IngestionConfig
from corpus.ingestion.counting import CountingPass, encoder_read
from corpus.ingestion.parts import Parts
from corpus.ingestion.reading import HASH_BYTES, ReadingPass
from corpus.ingestion.screening import ScreeningPass
from corpus.ingestion.tally import summaries_join
from engine.attempt import Attempt, attempt_run

_TOLD = (
    *("example_count", "held_out_count", "problem_count", "context_token_count"),
    *("decision_token_count", "format"),
)


def _work(attempt: Attempt, record: Any) -> None:
    config = IngestionConfig.from_json(record)
    # Before anything long: a model without a tokenizer is refused.
    if not encoder_read(config).template.tells_the_day:
        config = replace(config, day=None)
    with attempt.output_directory() as output:
        summary: dict[str, Any] = {}
        if config.passes != "counting":
            summary = _reading(config, attempt, output)
        if config.passes != "reading":
            summary = summaries_join(summary, _counting(config, attempt, output))
            kept = output / "examples.jsonl"
            examples = kept if kept.is_file() else config.source
            summary["screening"] = ScreeningPass(config, attempt, examples, output).run()
        text = json.dumps(summary, indent=2)
        (output / "summary.json").write_text(text + "\n", encoding="utf-8")
    attempt.events.done(summary={name: summary[name] for name in _TOLD if name in summary})


def _reading(config: IngestionConfig, attempt: Attempt, output: Path) -> dict[str, Any]:
    targets = {".examples": output / "examples.jsonl", ".hashes": output / "hashes.bin"}
    parts = Parts(attempt, "reading", saves=config.passes == "reading", targets=targets)
    tally = ReadingPass(config, attempt, parts).run(parts.resume())
    # Half of what is kept of a hash tells millions of examples apart, and sorts much faster.
    hashes = np.fromfile(output / "hashes.bin", dtype=np.uint64).reshape(-1, HASH_BYTES // 8)
    tally.duplicate_count = len(hashes) - len(np.unique(hashes[:, 0]))
    _problems_write(parts.lines(".problems"), output, config.limits["max_problems"])
    parts.drop()
    return tally.summary()


def _counting(config: IngestionConfig, attempt: Attempt, output: Path) -> dict[str, Any]:
    parts = Parts(attempt, "counting", saves=config.passes == "counting")
    examples = output / "examples.jsonl"
    if config.passes == "counting":
        examples = config.source
    tally = CountingPass(config, attempt, parts, examples).run(parts.resume())
    _problems_write(parts.lines(".problems"), output, config.limits["max_problems"])
    if tally.problem_count or tally.unfolded_count:
        _examples_rewrite(examples, output / "examples.jsonl", parts)
    parts.drop()
    return tally.to_json()


def _problems_write(lines: Iterable[bytes], output: Path, most: int) -> None:
    """Append problems to those that are written, up to the limit."""
    path = output / "problems.jsonl"
    count = len(path.read_bytes().splitlines()) if path.is_file() else 0
    with path.open("ab") as file:
        for _, line in zip(range(most - count), lines, strict=False):
            file.write(line)


def _examples_rewrite(examples: Path, target: Path, parts: Parts) -> None:
    """Write the examples that could be tokenised, those that were unfolded in their new form."""
    dropped = {int(line) for line in parts.lines(".dropped")}
    unfolded = groupby(parts.lines(".unfolded"), key=_line_number)
    number, group = next(unfolded, (0, iter(())))
    kept = target.with_suffix(".kept")
    with examples.open("rb") as source, kept.open("wb") as file:
        for line in source:
            here = _line_number(line)
            if here == number:
                file.writelines(group)
                number, group = next(unfolded, (0, iter(())))
            elif here not in dropped:
                file.write(line)
    kept.replace(target)


def _line_number(example: bytes) -> int:
    number: int = json.loads(example)["line"]
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run one ingestion and return its exit code."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # nothing forks once the tokenizer has begun
    return attempt_run("corpus.ingestion", _work, arguments)
