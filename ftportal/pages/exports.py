"""Rows of a list as a file, streamed: CSV for spreadsheets, JSON lines for programs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from ftportal.pages.csvs import csv_line

FORMATS = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
"""What `?format=` of a list may ask for."""
_AT_ONCE = 500


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
        if wanted == "csv":
            yield csv_line(columns)
        for row in rows.iterator(chunk_size=_AT_ONCE):
            values = cells(row)
            if wanted == "jsonl":
                yield json.dumps({one: values[one] for one in columns}, ensure_ascii=False) + "\n"
            else:
                yield csv_line([_cell(values[one]) for one in columns])

    response = StreamingHttpResponse(lines(), content_type=f"{FORMATS[wanted]}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.{wanted}"'
    return response


def _cell(value: Any) -> str | float | None:
    if value is None or isinstance(value, int | float):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
