"""The first pass: every record checked, hashed and written in the portal's own form.

Plain JSON lines are cut into spans that processes read side by side; anything else is one stream.
Either way the file becomes parts, in order, and after a few seconds of them a state is saved.
"""

import hashlib
import json
import os
import time
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

from corpus.examples import DECISION_RULES, Example, decisions_mark
from corpus.formats import LeftOutError, UnknownFormatError, record_parse
from corpus.formats.preference import PreferenceError
from corpus.ingestion import is_held_out
from corpus.ingestion.config import IngestionConfig
from corpus.ingestion.parts import SAVE_EVERY_SECONDS, Parts, Progress
from corpus.ingestion.plain import PlainChat, plain_read
from corpus.ingestion.tally import Tally
from corpus.jsontext import ExampleError, shown
from corpus.reasoning import reasoning_choose
from corpus.records import (
    FileError,
    Record,
    is_plain_lines,
    line_record,
    raw_lines_read,
    records_read,
)
from corpus.screening.personal import example_redact
from engine.attempt import Attempt
from engine.process import die_with_parent

_SPAN_BYTES = 16 << 20
_SIDE_BY_SIDE_BYTES = 48 << 20
"""A smaller file is read before further processes have begun."""
_PROCESSES_MAX = 4
_QUOTED_CHARACTERS = 300
HASH_BYTES = 16
"""Of each example's SHA-256 that are kept to find it again in other batches."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Lines of a file from one byte to another."""

    start: int
    end: int
    first_line: int
    next_line: int
    """The first line after it."""


class PartWriter:
    """Writes one part: its examples, problems and hashes, and counts them."""

    def __init__(self, path: Path, config: IngestionConfig) -> None:
        self.path = path
        self.config = config
        self.tally = Tally()
        self._reading = config.reading
        # A plain line has no outcome, no day, no arguments, no choice of its own and nothing that
        # is covered.
        chosen = (config.day, config.redact, config.outcome_least, config.template_arguments)
        self._may_be_plain = not any((*chosen, config.empty_reasoning))
        self._plain_count = self._plain_turns = self._plain_answers = 0
        self._stack = ExitStack()
        self._examples = self._open(".examples")
        self._problems = self._open(".problems")
        self._hashes = self._open(".hashes")

    def _open(self, suffix: str) -> IO[bytes]:
        file = self.path.with_name(self.path.name + suffix).open("wb", buffering=1 << 20)
        return self._stack.enter_context(file)

    def close(self) -> None:
        """Finish the files of the part."""
        self._plain_tally()
        self._stack.close()

    @property
    def example_count(self) -> int:
        """Examples that were written so far."""
        return self.tally.example_count + self._plain_count

    def record(self, record: Record) -> None:
        """Read a record: it becomes an example or a problem, or it is left out."""
        if record.raw is not None and self.plain_line(record.line, record.raw):
            return
        value: Any = None
        try:
            value = record.value()
            parsed = record_parse(value, self._reading)
            chosen = reasoning_choose(parsed.example, self.config.reasoning)
            if self.config.redact:
                chosen = example_redact(chosen)
            self._outcome_check(chosen)
            example = decisions_mark(chosen, self.config.decision_rule)
            empty = self.config.empty_reasoning
            example = replace(example, day=self.config.day, learns_empty_reasoning=empty)
        except LeftOutError as error:
            self.tally.left_out[str(error)] += 1
        except UnknownFormatError as error:
            self.tally.unknown_add(value)
            self._problem(record, value, error)
        except PreferenceError as error:
            self.tally.preference_count += 1
            self._problem(record, value, error)
        except ExampleError as error:
            self._problem(record, value, error)
        else:
            admitted = self._admit(example.hashed_text().encode())
            if admitted is None:
                return
            self.tally.example_add(chosen, parsed.example.format)
            self.tally.account_add(parsed.account, record.line)
            self.tally.notices_add(record.notices, record.line)
            self._example_write(record.line, example, *admitted)

    def _outcome_check(self, example: Example) -> None:
        for name, least in self.config.outcome_least.items():
            value = example.outcome.get(name)
            if value is None or value < least:
                raise LeftOutError(f"{name} below {least:g}")

    def plain_line(self, line: int, raw: bytes) -> bool:
        """Read a line that is plain chat; False, and nothing is done, where it is anything else."""
        plain = plain_read(raw, self.config.decision_rule) if self._may_be_plain else None
        if plain is None:
            return False
        admitted = self._admit(plain.hashed)
        if admitted is not None:
            self._plain_write(line, plain, *admitted)
        return True

    def _plain_write(self, line: int, plain: PlainChat, sha256: str, held_out: bool) -> None:
        self._plain_count += 1
        self._plain_turns += plain.turn_count
        self._plain_answers += plain.answer_count
        self.tally.last_decision_add(plain.last)
        self._examples.write(
            b'{"line":%d,"sha256":"%s","held_out":%s,"turns":%s}\n'
            % (line, sha256.encode(), _HELD_OUT[held_out], plain.turns_json)
        )

    def _plain_tally(self) -> None:
        """Count the plain lines of the part, all at once."""
        tally, count = self.tally, self._plain_count
        if not count:
            return
        tally.formats["messages"] += count
        tally.example_count += count
        tally.turn_count += self._plain_turns
        tally.used.update(dict.fromkeys(_PLAIN_FIELDS, count))
        for rule in DECISION_RULES:
            tally.decisions[rule] += self._plain_answers if rule == "all" else count
        self._plain_count = 0

    def _admit(self, hashed: bytes) -> tuple[str, bool] | None:
        """Keep the hash of an example; return it, and whether the example is held out.

        None, counted with its reason, where a person left the example out.
        """
        digest = hashlib.sha256(hashed).digest()
        sha256 = digest.hex()
        if sha256 in self.config.leave_out:
            self.tally.left_out[self.config.leave_out[sha256]] += 1
            return None
        held_out = is_held_out(sha256)
        self._hashes.write(digest[:HASH_BYTES])
        self.tally.held_out_count += held_out
        return sha256, held_out

    def _example_write(self, line: int, example: Example, sha256: str, held_out: bool) -> None:
        record = {"line": line, "sha256": sha256, "held_out": held_out, **example.to_json()}
        self._examples.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _problem(self, record: Record, value: Any, error: ExampleError) -> None:
        """Write down a problem; past the limit they are only counted."""
        self.tally.problem_count += 1
        if self.tally.problem_count > self.config.limits["max_problems"]:
            return
        raw = record.raw.decode(errors="replace") if record.raw is not None else shown(value)
        line = {
            "line": record.line,
            "message": _quotable(error.message),
            "cure": _quotable(error.cure),
            "text": _quotable(raw.strip()[:_QUOTED_CHARACTERS]) if raw != "null" else "",
        }
        self._problems.write(json.dumps(line).encode() + b"\n")

    def file_problem(self, error: FileError) -> None:
        """Write down what is wrong with the file as a whole: line 0."""
        self._problem(Record(line=0, end_bytes=0), None, ExampleError(error.message, error.cure))


_HELD_OUT = {True: b"true", False: b"false"}
_PLAIN_FIELDS = ("messages", "messages[].role", "messages[].content")


def _quotable(text: str) -> str:
    """It may quote characters of the file's that fit into no file and no database."""
    return text.replace("\0", "�").encode(errors="replace").decode()


class ReadingPass:
    """Reads one file into parts."""

    def __init__(self, config: IngestionConfig, attempt: Attempt, parts: Parts) -> None:
        self.config = config
        self.attempt = attempt
        self.parts = parts
        self.tally = Tally()
        self._total_bytes = config.source.stat().st_size
        self._saved = time.monotonic()
        self._progress = Progress(attempt, "reading", self._total_bytes)

    def run(self, state: Mapping[str, Any] | None) -> Tally:
        """Read the file, or what a state has not read of it, and return the counts."""
        position: dict[str, Any] = {}
        if state is not None:
            self.tally = Tally.from_json(state["tally"])
            position = state["position"]
        try:
            self._size_check()
            self._read(position)
        except FileError as error:
            self._file_problem(error)
        return self.tally

    def _read(self, position: Mapping[str, Any]) -> None:
        if self._total_bytes >= _SIDE_BY_SIDE_BYTES and is_plain_lines(
            self.config.source,
            max_record_bytes=self.config.limits["max_record_bytes"],
            filename=self.config.filename,
        ):
            self._progress.start(position.get("bytes", 0))
            for tally, path, span in self._spans_read(position):
                after = {"bytes": span.end, "line": span.next_line}
                self._part_done(tally, path, span.end, after)
        else:
            self._stream_read(position.get("records", 0))

    def _part_done(
        self, tally: Tally, path: Path, end_bytes: int, position: Mapping[str, Any]
    ) -> None:
        self.parts.add(path)
        self.tally.merge(tally)
        limit = self.config.limits["max_examples"]
        if self.tally.example_count > limit:
            raise FileError(
                f"the file has more than {limit:,} examples", "Split it into several batches."
            )
        now = time.monotonic()
        if now - self._saved >= SAVE_EVERY_SECONDS and end_bytes < self._total_bytes:
            self._saved = now
            self.parts.save({"tally": self.tally.to_json(), "position": position})
        self._progress.tell(end_bytes)
        self.attempt.check_stop()

    def _size_check(self) -> None:
        limit = self.config.limits["max_file_bytes"]
        if self._total_bytes > limit:
            message = f"the file has {self._total_bytes:,} bytes; the limit is {limit:,}"
            raise FileError(message, "Split it into several batches.")

    def _file_problem(self, error: FileError) -> None:
        writer = PartWriter(self.parts.next_path(), self.config)
        writer.file_problem(error)
        writer.close()
        self.parts.add(writer.path)
        self.tally.merge(writer.tally)

    def _stream_read(self, skip: int) -> None:
        """Read one record after another; a part ends where it is time to save."""
        limits = self.config.limits
        records = records_read(
            self.config.source,
            filename=self.config.filename,
            max_record_bytes=limits["max_record_bytes"],
            max_expanded_bytes=limits["max_expanded_bytes"],
        )
        count, end_bytes = 0, 0
        writer = PartWriter(self.parts.next_path(), self.config)
        began = time.monotonic()
        try:
            for record in records:
                count, end_bytes = count + 1, record.end_bytes
                if count <= skip:
                    continue
                writer.record(record)
                over = self.tally.example_count + writer.example_count
                now = time.monotonic()
                if now - began >= 0.5 or over > limits["max_examples"]:
                    writer.close()
                    self._part_done(writer.tally, writer.path, end_bytes, {"records": count})
                    writer, began = PartWriter(self.parts.next_path(), self.config), now
        finally:
            writer.close()
            if writer.path.name == self.parts.next_path().name:
                self.parts.add(writer.path)
                self.tally.merge(writer.tally)
        self._progress.tell(self._total_bytes)

    def _spans_read(self, position: Mapping[str, Any]) -> Iterator[tuple[Tally, Path, Span]]:
        """Read the spans of a file in processes side by side; yield the parts in order."""
        processes = min(_PROCESSES_MAX, max(1, os.cpu_count() or 1))
        # Forking is not safe: a thread of this process watches the supervisor.
        with ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=die_with_parent
        ) as pool:
            waiting: deque[tuple[Future[dict[str, Any]], Path, Span]] = deque()
            for span in spans_of(self.config.source, position):
                path = self.parts.next_path(ahead=len(waiting))
                waiting.append((pool.submit(span_read, path, self.config, span), path, span))
                if len(waiting) > processes:
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())


def _result(future: Future[dict[str, Any]], path: Path, span: Span) -> tuple[Tally, Path, Span]:
    result = future.result()
    if result["file_error"]:
        raise FileError(*result["file_error"])
    return Tally.from_json(result["tally"]), path, span


def spans_of(path: Path, position: Mapping[str, Any]) -> Iterator[Span]:
    """Cut a file of lines into spans that end with a line each; no line is in memory as a whole."""
    with path.open("rb") as file:
        marked = file.read(len(BOM_UTF8)) == BOM_UTF8
        start = position.get("bytes", len(BOM_UTF8) if marked else 0)
        line = position.get("line", 1)
        file.seek(start)
        while data := file.read(_SPAN_BYTES):
            count = data.count(b"\n")
            while data and not data.endswith(b"\n"):
                data = file.readline(_SPAN_BYTES)
                count += not data or data.endswith(b"\n")  # the file's last line may have no end
            span = Span(start=start, end=file.tell(), first_line=line, next_line=line + count)
            yield span
            start, line = span.end, span.next_line


def span_read(path: Path, config: IngestionConfig, span: Span) -> dict[str, Any]:
    """Read the lines of a span into one part; runs in a process of its own."""
    writer = PartWriter(path, config)
    error: tuple[str, str] | None = None
    with config.source.open("rb", buffering=1 << 20) as file:
        file.seek(span.start)
        limit = config.limits["max_record_bytes"]
        try:
            for number, raw in raw_lines_read(file, limit, first_line=span.first_line):
                if number >= span.next_line:
                    break
                if raw is None or not writer.plain_line(number, raw):
                    writer.record(line_record(number, raw, limit))
        except FileError as problem:
            error = (problem.message, problem.cure)
    writer.close()
    return {"tally": writer.tally.to_json(), "file_error": error}
