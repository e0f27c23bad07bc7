"""Rows of the engine's files into the database, in chunks; errors name the file and the line."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import models, transaction

from engine.numbers import finite_or_none

CHUNK_ROWS = 500
"""Rows a transaction: far under the second that a writer may hold the database."""


class ResultsError(Exception):
    """The engine's output is not what it should be; the text says where and what is wrong."""


def rows_store(
    model: type[models.Model],
    owner: Mapping[str, models.Model],
    records: Iterator[tuple[str, Any]],
    build: Callable[[Any], models.Model],
) -> None:
    """Insert a row a record, in chunks; rows of an import that was cut off stay, so it can go on.

    `records` gives (where it stands, the decoded record); `owner` selects the rows that belong
    together. Raises ResultsError.
    """
    count = 0
    manager = model._default_manager
    while chunk := list(islice(records, CHUNK_ROWS)):
        count += len(chunk)
        rows = [_built(where, build, record) for where, record in chunk]
        with transaction.atomic():
            manager.bulk_create(rows, ignore_conflicts=True)
    stored = manager.filter(**owner).count()
    if stored != count:
        raise ResultsError(
            f"{count} {model._meta.verbose_name_plural} were measured but {stored} are different."
        )


def _built(where: str, build: Callable[[Any], models.Model], record: Any) -> models.Model:
    try:
        return build(record)
    except KeyError as error:
        raise ResultsError(f"{where}: {error.args[0]} is missing or unknown.") from error
    except (TypeError, ValueError) as error:
        raise ResultsError(f"{where}: a value is of the wrong kind.") from error


def loss_of(line: dict[str, Any]) -> float:
    """A row's negative log-likelihood in nats; ResultsError where it is not a number."""
    nll_nats = finite_or_none(line["nll_nats"])
    if nll_nats is None:
        raise ResultsError("A text's likelihood is not a number; the weights may be broken.")
    return nll_nats


def json_read(path: Path) -> Any:
    """The decoded file; ResultsError where it is not JSON, OSError where it is missing."""
    return _decoded(path.name, path.read_text(encoding="utf-8"))


def lines_read(path: Path) -> Iterator[tuple[str, Any]]:
    """(where it stands, the decoded line) of every line; ResultsError and OSError as above."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path.name}, line {number}"
            yield where, _decoded(where, line)


def _decoded(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ResultsError(f"{where} is not JSON.") from error
