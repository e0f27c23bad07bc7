"""The second pass: every example rendered and tokenised, and what each costs to read and to learn.

Examples are rendered one by one and tokenised many at a time, which the tokenizer spreads over the
cores while the next ones are rendered.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import Example, example_from_json
from corpus.ingestion.config import IngestionConfig
from corpus.ingestion.parts import SAVE_EVERY_SECONDS, Parts, Progress
from corpus.ingestion.tally import NOTICE_ROWS, Counts
from corpus.jsontext import ExampleError
from engine.attempt import Attempt
from engine.checks import ConfigError

_AT_ONCE = 128
"""Examples that are tokenised together."""
_PART_SECONDS = 0.5
SUFFIXES = (".problems", ".dropped")


@dataclass(kw_only=True)
class TokenTally(Counts):
    """Counts of the counting pass."""

    counted: int = 0
    """Examples that could be tokenised."""
    trained_count: int = 0
    """Of these, examples that are not held out."""
    context_token_count: int = 0
    decision_token_count: int = 0
    decision_count: int = 0
    token_length_max: int = 0
    decision_length_max: int = 0
    """The longest decision, in tokens."""
    problem_count: int = 0
    context_histogram: Counter[str] = field(default_factory=Counter)
    """Examples by the context tokens they have: the key is the lower end of a power of two."""
    decision_histogram: Counter[str] = field(default_factory=Counter)
    """Examples by their decision tokens."""
    length_histogram: Counter[str] = field(default_factory=Counter)
    """Examples by all their tokens."""
    notices: Counter[str] = field(default_factory=Counter)
    notice_rows: dict[str, list[list[Any]]] = field(default_factory=dict)

    def add(self, encoded: EncodedExample, line: int, held_out: bool) -> None:
        """Count one example."""
        lengths = [s.end - s.start for s in encoded.segments if s.is_decision]
        context, decision = encoded.context_token_count, encoded.decision_token_count
        self.counted += 1
        self.trained_count += not held_out
        self.context_token_count += context
        self.decision_token_count += decision
        self.decision_count += len(lengths)
        self.token_length_max = max(self.token_length_max, len(encoded.token_ids))
        self.decision_length_max = max(self.decision_length_max, *lengths)
        self.context_histogram[_bin(context)] += 1
        self.decision_histogram[_bin(decision)] += 1
        self.length_histogram[_bin(context + decision)] += 1
        for kind in sorted(encoded.remarks):
            self.notices[kind] += 1
            rows = self.notice_rows.setdefault(kind, [])
            if len(rows) < NOTICE_ROWS:
                rows.append([line, "", ""])


def _bin(count: int) -> str:
    return str(1 << (count.bit_length() - 1)) if count else "0"


class _Batch(NamedTuple):
    """Lines of examples.jsonl that are tokenised together."""

    records: list[dict[str, Any]]
    size_bytes: int


_Counted = Iterator[tuple[_Batch, list[EncodedExample | ExampleError]]]


def _batches(file: IO[bytes]) -> Iterator[tuple[_Batch, list[Example]]]:
    while lines := list(islice(file, _AT_ONCE)):
        records = [msgspec.json.decode(line) for line in lines]
        yield _Batch(records, sum(map(len, lines))), [example_from_json(one) for one in records]


class CountingPass:
    """Counts the tokens of the examples that reading has written."""

    def __init__(
        self, config: IngestionConfig, attempt: Attempt, parts: Parts, examples: Path
    ) -> None:
        self.config = config
        self.attempt = attempt
        self.parts = parts
        self.examples = examples
        self.tally = TokenTally()
        self.encoder = encoder_read(config)
        self._total_bytes = examples.stat().st_size
        self._saved = time.monotonic()
        self._progress = Progress(attempt, "counting tokens", self._total_bytes)

    def run(self, state: Mapping[str, Any] | None) -> TokenTally:
        """Count all examples, or those that a state has not counted yet."""
        position = 0
        if state is not None:
            self.tally, position = TokenTally.from_json(state["tally"]), state["position"]
        self._progress.start(position)
        with self.examples.open("rb") as file:
            file.seek(position)
            counted = self.encoder.encode_stream(_batches(file))
            while position < self._total_bytes:
                position = self._part(counted, position)
        self._progress.tell(position)
        return self.tally

    def _part(self, counted: "_Counted", position: int) -> int:
        """Count examples into one part until it is time; return how far the file was read."""
        path = self.parts.next_path()
        with ExitStack() as stack:
            files = {
                suffix: stack.enter_context(path.with_name(path.name + suffix).open("wb"))
                for suffix in SUFFIXES
            }
            began = time.monotonic()
            for batch, results in counted:
                for record, encoded in zip(batch.records, results, strict=True):
                    if isinstance(encoded, ExampleError):
                        self._problem(record["line"], encoded, files)
                    else:
                        self.tally.add(encoded, record["line"], record["held_out"])
                position += batch.size_bytes
                if time.monotonic() - began >= _PART_SECONDS:
                    break
        self.parts.add(path)
        now = time.monotonic()
        if now - self._saved >= SAVE_EVERY_SECONDS and position < self._total_bytes:
            self._saved = now
            self.parts.save({"tally": self.tally.to_json(), "position": position})
        self._progress.tell(position)
        self.attempt.check_stop()
        return position

    def _problem(self, line: int, error: ExampleError, files: Mapping[str, IO[bytes]]) -> None:
        self.tally.problem_count += 1
        files[".dropped"].write(b"%d\n" % line)
        if self.tally.problem_count <= self.config.limits["max_problems"]:
            record = {"line": line, "message": error.message, "cure": error.cure, "text": ""}
            files[".problems"].write(json.dumps(record).encode() + b"\n")


def encoder_read(config: IngestionConfig) -> ChatEncoder:
    """The tokenizer and template that a config names; ConfigError where they cannot be read."""
    try:
        return ChatEncoder.from_directory(config.tokenizer)
    except (ValueError, OSError) as error:
        raise ConfigError("tokenizer", str(error), "Choose a model with a tokenizer.") from error
