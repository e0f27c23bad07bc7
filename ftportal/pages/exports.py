"""Rows of a list as a file, streamed: CSV for spreadsheets, JSON lines for programs."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from ftportal.pages.csvs import cell_safe

FORMATS = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
"""What `?format=` of a list may ask for."""
_AT_ONCE = 500


class _Line:
    """A file for csv.writer that hands each line back."""

    def write(self, line: str) -> str:
        return line


def rows_download(
    rows: QuerySet[Any],
    *,
    columns: Sequence[str],
    cells: Callable[[Any], Mapping[str, Any]],
    name: str,
    wanted: str,
) -> StreamingHttpResponse:
    """All rows as `<name>.<wanted>`, one of FORMATS, read a few hundred at a time.

    `cells` gives a row's value for each of `columns`; in CSV objects and lists are JSON.
    """

    def lines() -> Iterator[str]:
        writer = csv.writer(_Line())
        if wanted == "csv":
            yield writer.writerow(columns)
        for row in rows.iterator(chunk_size=_AT_ONCE):
            values = cells(row)
            if wanted == "jsonl":
                yield json.dumps({one: values[one] for one in columns}, ensure_ascii=False) + "\n"
            else:
                yield writer.writerow([_cell(values[one]) for one in columns])

    response = StreamingHttpResponse(lines(), content_type=f"{FORMATS[wanted]}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.{wanted}"'
    return response


def _cell(value: Any) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return cell_safe("" if value is None else value)
