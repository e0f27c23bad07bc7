"""Reading an uploaded file record by record, whatever container it came in.

Read are JSON lines, JSON arrays, pretty-printed objects, CSV, TSV and Parquet, each but Parquet
also packed with gzip or zstd. Never more than one record and one chunk is in memory; session logs,
in which many lines make one example, are the exception.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from corpus.records import jsonlines, tables
from corpus.records.containers import Content, content_open
from corpus.records.jsonlines import line_record, lines_read, raw_lines_read
from corpus.records.record import FileError, Record
from corpus.records.sessions import is_session_log, sessions_read

__all__ = [
    "FileError",
    "Record",
    "is_plain_lines",
    "line_record",
    "raw_lines_read",
    "records_read",
]

EXPANDED_BYTES_MAX = 8 << 30


def records_read(
    path: Path,
    *,
    max_record_bytes: int,
    filename: str = "",
    max_expanded_bytes: int = EXPANDED_BYTES_MAX,
) -> Iterator[Record]:
    """Yield the records of a file; empty lines are passed over.

    filename: what the file was called; the suffix of a table counts. A record that is too long,
    nested too deep, or not JSON is yielded with its error. An array cannot be read past an element
    that is broken, so it ends there. Raises FileError for what is wrong with the whole file: empty,
    not UTF-8, or of a kind that is not read.
    """
    has_records = False
    with content_open(path, max_expanded_bytes=max_expanded_bytes) as content:
        for record in _grouped(_read(path, content, filename, max_record_bytes)):
            has_records = True
            yield record
    if not has_records:
        raise FileError("the file is empty", "Choose a file with at least one example.")


def is_plain_lines(path: Path, *, max_record_bytes: int, filename: str = "") -> bool:
    """Whether a file is JSON lines that can be cut anywhere between two of them."""
    with content_open(path, max_expanded_bytes=EXPANDED_BYTES_MAX) as content:
        if content.is_packed or content.is_parquet or jsonlines.is_array(content):
            return False
        if tables.is_csv(content, filename) or jsonlines.is_pretty(content):
            return False
        first = next(_lines(content, max_record_bytes), None)
        return first is not None and not is_session_log(first)


def _read(path: Path, content: Content, filename: str, max_record_bytes: int) -> Iterator[Record]:
    if content.is_parquet:
        return tables.parquet_read(path)
    if jsonlines.is_array(content):
        return jsonlines.array_read(content, max_record_bytes)
    if tables.is_csv(content, filename):
        return tables.csv_read(content, max_record_bytes)
    if jsonlines.is_pretty(content):
        return jsonlines.pretty_read(content, max_record_bytes)
    return _lines(content, max_record_bytes)


def _lines(content: Content, max_record_bytes: int) -> Iterator[Record]:
    return lines_read(content.stream, max_record_bytes, tell=content.packed.tell)


def _grouped(records: Iterator[Record]) -> Iterator[Record]:
    """The records as they are, or joined to sessions where the first one is of a session log."""
    first = next(records, None)
    if first is None:
        return iter(())
    every = chain((first,), records)
    return sessions_read(every) if is_session_log(first) else every
