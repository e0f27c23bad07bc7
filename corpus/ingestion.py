"""The ingestion engine: `python -m corpus.ingestion DIR` reads an uploaded file of examples.

DIR/config.json in; DIR/attempts/<N>/output out: examples.jsonl (one canonical example a line),
problems.jsonl and summary.json. Nothing is refused silently: whatever cannot be used is a problem
with its line. No torch here.
"""

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from corpus.conversations import ChatEncoder
from corpus.examples import DECISION_RULES, Example, ExampleError, decisions_mark
from corpus.formats import example_parse
from corpus.records import FileError, Record, records_read
from engine.attempt import Attempt, attempt_run
from engine.checks import ConfigError
from engine.manifest import file_sha256

DEFAULT_LIMITS = {
    "max_file_bytes": 512 << 20,
    "max_record_bytes": 4 << 20,
    "max_examples": 200_000,
    "max_problems": 1000,
}
_HELD_OUT_ONE_IN = 10
_PROGRESS_EVERY_SECONDS = 0.5


def is_held_out(sha256: str) -> bool:
    """Whether an example of this content hash is kept from training: about one in ten.

    It depends on the content alone, not on the file: an example that comes again, with more lines
    or in another batch, is on the same side, so no later session trains on what an earlier one set
    aside. The price is that a file of a few lines may have none on one of the sides.
    """
    return int(sha256[:8], 16) % _HELD_OUT_ONE_IN == 0


@dataclass(frozen=True, kw_only=True)
class IngestionConfig:
    """DIR/config.json of an ingestion."""

    source: Path
    """The uploaded file."""
    tokenizer: Path
    """The Hugging Face directory whose tokenizer and chat template count the tokens."""
    decision_rule: str
    """One of DECISION_RULES, for examples in which no turn is marked."""
    limits: dict[str, int]
    """DEFAULT_LIMITS, with what the config changes."""

    @classmethod
    def from_json(cls, record: Any) -> "IngestionConfig":
        """Build the config from decoded JSON; ConfigError names the field that is wrong."""
        known = ("source", "tokenizer", "decision_rule", "limits")
        if not isinstance(record, dict):
            raise ConfigError("config", "is not a JSON object", "Write an object of fields.")
        for name in record:
            if name not in known:
                raise ConfigError(name, "unknown field", f"Use only: {', '.join(known)}.")
        for name in ("source", "tokenizer"):
            if not isinstance(record.get(name), str) or not Path(record[name]).exists():
                raise ConfigError(name, "does not exist", "Name a path that exists.")
        rule = record.get("decision_rule", "last")
        if rule not in DECISION_RULES:
            raise ConfigError("decision_rule", f"{rule!r} is not known", "Use last or all.")
        limits = record.get("limits") or {}
        for name, value in limits.items():
            if name not in DEFAULT_LIMITS or not isinstance(value, int) or value < 1:
                cure = f"Use whole numbers for {', '.join(DEFAULT_LIMITS)}."
                raise ConfigError(f"limits.{name}", f"{value!r} is not valid", cure)
        return cls(
            source=Path(record["source"]),
            tokenizer=Path(record["tokenizer"]),
            decision_rule=rule,
            limits={**DEFAULT_LIMITS, **limits},
        )


@dataclass(kw_only=True)
class _Tally:
    """What was counted so far."""

    formats: Counter[str] = field(default_factory=Counter)
    hashes: Counter[str] = field(default_factory=Counter)
    example_count: int = 0
    held_out_count: int = 0
    turn_count: int = 0
    context_token_count: int = 0
    decision_token_count: int = 0
    decision_count: int = 0
    token_length_max: int = 0
    decision_length_max: int = 0
    """The longest decision, in tokens."""
    problem_count: int = 0

    def summary(self) -> dict[str, Any]:
        """Return the counts as summary.json holds them."""
        formats = sorted(self.formats)
        return {
            "format": formats[0] if len(formats) == 1 else "mixed" if formats else None,
            "formats": dict(self.formats),
            "example_count": self.example_count,
            "held_out_count": self.held_out_count,
            "duplicate_count": self.example_count - len(self.hashes),
            "turn_count": self.turn_count,
            "decision_count": self.decision_count,
            "context_token_count": self.context_token_count,
            "decision_token_count": self.decision_token_count,
            "token_length_max": self.token_length_max,
            "decision_length_max": self.decision_length_max,
            "problem_count": self.problem_count,
        }


class Ingestion:
    """One pass over one file."""

    def __init__(self, config: IngestionConfig, attempt: Attempt, output: Path) -> None:
        self.config = config
        self.attempt = attempt
        self.output = output
        self.tally = _Tally()
        self._problems: IO[str]
        self._examples: IO[str]

    def run(self) -> dict[str, Any]:
        """Read the file, write the output files and return the summary."""
        try:
            encoder = ChatEncoder.from_directory(self.config.tokenizer)
        except (ValueError, OSError) as error:
            raise ConfigError(
                "tokenizer", str(error), "Choose a model with a tokenizer."
            ) from error
        with (
            (self.output / "problems.jsonl").open("w", encoding="utf-8") as self._problems,
            (self.output / "examples.jsonl").open("w", encoding="utf-8") as self._examples,
        ):
            try:
                self._read(encoder)
            except FileError as error:
                self._problem(0, error.message, error.cure)
        summary = self.tally.summary()
        summary["source_bytes"] = self.config.source.stat().st_size
        summary["source_sha256"] = file_sha256(self.config.source)
        text = json.dumps(summary, indent=2)
        (self.output / "summary.json").write_text(text + "\n", encoding="utf-8")
        return summary

    def _read(self, encoder: ChatEncoder) -> None:
        limits, total_bytes = self.config.limits, self.config.source.stat().st_size
        if total_bytes > limits["max_file_bytes"]:
            message = (
                f"the file has {total_bytes:,} bytes; the limit is {limits['max_file_bytes']:,}"
            )
            raise FileError(message, "Split it into several batches.")
        started = shown = time.monotonic()
        records = records_read(self.config.source, max_record_bytes=limits["max_record_bytes"])
        for record in records:
            self.attempt.check_stop()
            self._record(record, encoder)
            if self.tally.example_count > limits["max_examples"]:
                message = f"the file has more than {limits['max_examples']:,} examples"
                raise FileError(message, "Split it into several batches.")
            now = time.monotonic()
            if now - shown > _PROGRESS_EVERY_SECONDS:
                shown = now
                left = (now - started) * (total_bytes / max(1, record.end_bytes) - 1)
                self._progress(record.end_bytes, total_bytes, left)
        self._progress(total_bytes, total_bytes, 0.0)

    def _progress(self, done: int, total: int, seconds_left: float) -> None:
        self.attempt.events.progress(
            done=done, total=total, unit="bytes", phase="reading", seconds_left=seconds_left
        )

    def _record(self, record: Record, encoder: ChatEncoder) -> None:
        try:
            if record.error is not None:
                raise record.error
            parsed = example_parse(record.value)
            example = decisions_mark(parsed, self.config.decision_rule)
            encoded = encoder.encode(example)
        except ExampleError as error:
            self._problem(record.line, error.message, error.cure)
            return
        tally = self.tally
        tally.formats[parsed.format] += 1
        tally.example_count += 1
        tally.turn_count += len(example.turns)
        tally.decision_count += sum(segment.is_decision for segment in encoded.segments)
        tally.context_token_count += encoded.context_token_count
        tally.decision_token_count += encoded.decision_token_count
        tally.token_length_max = max(tally.token_length_max, len(encoded.token_ids))
        longest = max((s.end - s.start for s in encoded.segments if s.is_decision), default=0)
        tally.decision_length_max = max(tally.decision_length_max, longest)
        self._example_write(record.line, example)

    def _example_write(self, line: int, example: Example) -> None:
        sha256 = example.sha256()
        held_out = is_held_out(sha256)
        self.tally.hashes[sha256] += 1
        self.tally.held_out_count += held_out
        record = {"line": line, "sha256": sha256, "held_out": held_out, **example.to_json()}
        self._examples.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _problem(self, line: int, message: str, cure: str) -> None:
        """Write down a problem; past the limit they are only counted."""
        self.tally.problem_count += 1
        if self.tally.problem_count <= self.config.limits["max_problems"]:
            # It may quote characters of the file's that fit into no file and no database.
            quotable = message.replace("\0", "�").encode(errors="replace").decode()
            record = {"line": line, "message": quotable, "cure": cure}
            self._problems.write(json.dumps(record, ensure_ascii=False) + "\n")


def _work(attempt: Attempt, record: Any) -> None:
    config = IngestionConfig.from_json(record)
    with attempt.output_directory() as output:
        summary = Ingestion(config, attempt, output).run()
    attempt.events.done(summary=summary)


def main(arguments: list[str] | None = None) -> int:
    """Run one ingestion and return its exit code."""
    return attempt_run("corpus.ingestion", _work, arguments)


if __name__ == "__main__":
    sys.exit(main())
