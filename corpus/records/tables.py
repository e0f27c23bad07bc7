"""Tables: CSV, TSV and Parquet, a row an example; an empty cell says nothing."""

import csv
import datetime
import decimal
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus.jsontext import ExampleError
from corpus.records.containers import Content
from corpus.records.record import FileError, Record, not_utf8

_ROWS = 256
"""Rows of a Parquet file that are in memory at a time."""
SUFFIXES = (".csv", ".tsv")


def is_csv(content: Content, filename: str) -> bool:
    """Whether the content is a table of text: by its name, or by a first line with separators."""
    name = filename.lower().removesuffix(".gz").removesuffix(".zst")
    if name.endswith(SUFFIXES):
        return True
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return False
    start = content.head.lstrip()
    first = start.split(b"\n", 1)[0]
    return not start.startswith((b"{", b"[")) and any(sign in first for sign in (b",", b"\t", b";"))


def csv_read(content: Content, max_record_bytes: int) -> Iterator[Record]:
    """Yield the rows of a table by the names in its first line."""
    first = content.head.split(b"\n", 1)[0]
    separator = max((",", "\t", ";"), key=lambda sign: first.count(sign.encode()))
    text = io.TextIOWrapper(content.stream, encoding="utf-8", newline="")
    csv.field_size_limit(max_record_bytes)
    rows = csv.reader(text, delimiter=separator, strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for row in rows:
            end = content.packed.tell()
            if names is None:
                names = _names(row)
            elif row:
                yield _row(names, row, line, end)
            line = rows.line_num + 1
    except UnicodeDecodeError as error:
        raise not_utf8(f"a byte 0x{error.object[error.start]:02x} after line {line}") from None
    except csv.Error as error:
        raise FileError(
            f"not a table from line {line} on: {error}", "Put quotes around texts that need them."
        ) from None
    finally:
        text.detach()


def _names(row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    if "" in names:
        raise FileError("a column has no name in the first line", "Name every column.")
    for name in names:
        if names.count(name) > 1:
            raise FileError(f"two columns are called {name}", "Give each a name of its own.")
    return names


def _row(names: list[str], row: list[str], line: int, end_bytes: int) -> Record:
    if len(row) != len(names):
        error = ExampleError(
            f"{len(row)} cells in a table of {len(names)} columns",
            "Put quotes around texts that hold a separator or a line break.",
        )
        return Record(line=line, error=error, end_bytes=end_bytes)
    value = {name: cell or None for name, cell in zip(names, row, strict=True)}
    return Record(line=line, decoded=value, end_bytes=end_bytes)


def parquet_read(path: Path) -> Iterator[Record]:
    """Yield the rows of a Parquet file; `line` counts them from 1."""
    try:
        import pyarrow.lib
        import pyarrow.parquet
    except ImportError:
        raise FileError(
            "this worker cannot read Parquet: pyarrow is not installed",
            "Install ftportal[worker] there, or upload JSON lines.",
        ) from None
    size, line = path.stat().st_size, 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    line += 1
                    yield _plain_record(row, line, size * line // max(1, file.metadata.num_rows))
    except (pyarrow.lib.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"the Parquet file is broken after row {line}: {error}", "Write it again."
        ) from None


def _plain_record(row: dict[str, Any], line: int, end_bytes: int) -> Record:
    try:
        return Record(line=line, decoded=_plain(row), end_bytes=end_bytes)
    except ExampleError as error:
        return Record(line=line, error=error, end_bytes=end_bytes)


def _plain(value: Any) -> Any:
    """The value as JSON would hold it."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ExampleError("a number that is not finite (NaN)", "Write null where none is.")
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return value
