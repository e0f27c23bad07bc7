"""What the engine measured, brought into the database."""

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import models, transaction

from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models import DocumentLoss, Evaluation, Sample, Score
from ftportal.evaluations.signals import evaluation_measured
from ftportal.jobs.models import Job, JobState

CHUNK_ROWS = 500
"""Rows a transaction: far under the second that a writer may hold the database."""


class ResultsError(Exception):
    """The engine's output is not what it should be; the text says where and what is wrong."""


def evaluation_finish(job: Job) -> None:
    """Store what a finished job has measured and say so; may be called again and again."""
    evaluation = Evaluation.objects.select_related("job", "suite").filter(job=job).first()
    if evaluation is None or evaluation.measured or job.state != JobState.SUCCEEDED:
        return
    try:
        _output_import(evaluation, job.output_directory)
    except (ResultsError, OSError) as error:
        message = f"The results could not be used: {error} Measure again."
        Evaluation.objects.filter(pk=evaluation.pk, measured=False).update(problem=message)


def _output_import(evaluation: Evaluation, output: Path) -> None:
    """Store all rows in chunks, then make them visible by one last update."""
    held_out = {one.sha256: one for one in evaluation.suite.held_out_sets.all()}
    scores, settings = output / "scores.json", _json(output / "settings.json")
    _store(evaluation, Score, _records(scores, _json(scores)), _score)
    samples, documents = output / "samples.jsonl", output / "documents.jsonl"
    _store(evaluation, Sample, _lines(samples), _sample)
    _store(evaluation, DocumentLoss, _lines(documents), partial(_document, held_out=held_out))
    with transaction.atomic():
        changed = Evaluation.objects.filter(pk=evaluation.pk, measured=False).update(
            measured=True, problem="", settings=settings
        )
        if changed:
            evaluation.refresh_from_db()
            transaction.on_commit(
                lambda: evaluation_measured.send_robust(Evaluation, evaluation=evaluation)
            )


def _store(
    evaluation: Evaluation,
    model: type[models.Model],
    records: Iterator[tuple[str, Any]],
    build: Callable[[Evaluation, Any], models.Model],
) -> None:
    """Insert a row a record, in chunks; rows of an import that was cut off stay, so it can go on.

    `records` gives (where it stands, the decoded record). Raises ResultsError.
    """
    count = 0
    manager = model._default_manager
    while chunk := list(islice(records, CHUNK_ROWS)):
        count += len(chunk)
        rows = [_built(where, partial(build, evaluation), record) for where, record in chunk]
        with transaction.atomic():
            manager.bulk_create(rows, ignore_conflicts=True)
    stored = manager.filter(evaluation=evaluation).count()
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


def _score(evaluation: Evaluation, line: dict[str, Any]) -> Score:
    return Score(
        evaluation=evaluation,
        benchmark=line["benchmark"],
        metric=line["metric"],
        value=_number(line["value"]),
        stderr=_number(line["stderr"]),
        n=int(line["n"]),
        higher_is_better=bool(line["higher_is_better"]),
        unit=line["unit"],
    )


def _sample(evaluation: Evaluation, line: dict[str, Any]) -> Sample:
    return Sample(
        evaluation=evaluation,
        benchmark=line["benchmark"],
        doc_hash=line["doc_hash"],
        prompt_hash=line["prompt_hash"],
        target_hash=line["target_hash"],
        correct=bool(line["correct"]),
        margin_nats=_number(line["margin_nats"]),
        cluster=line["cluster"] or "",
        question=line["question"],
        target=line["target"],
        answer=line["answer"],
    )


def _document(
    evaluation: Evaluation, line: dict[str, Any], *, held_out: dict[str, HeldOutSet]
) -> DocumentLoss:
    nll_nats = _number(line["nll_nats"])
    if nll_nats is None:
        raise ResultsError("A document's likelihood is no number; the weights may be broken.")
    return DocumentLoss(
        evaluation=evaluation,
        held_out_set=held_out[line["held_out_key"]],
        doc_hash=line["doc_hash"],
        nll_nats=nll_nats,
        tokens=int(line["tokens"]),
        bytes=int(line["bytes"]),
    )


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def _json(path: Path) -> Any:
    return _decoded(path.name, path.read_text(encoding="utf-8"))


def _records(path: Path, decoded: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(decoded, dict) or not isinstance(decoded.get("scores"), list):
        raise ResultsError(f"{path.name} holds no list of scores.")
    for number, record in enumerate(decoded["scores"], start=1):
        yield f"{path.name}, score {number}", record


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path.name}, line {number}"
            yield where, _decoded(where, line)


def _decoded(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ResultsError(f"{where} is not JSON.") from error
