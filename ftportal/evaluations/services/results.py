"""What the engine measured, brought into the database."""

import json
import math
from collections.abc import Callable, Iterator
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
    scores = _json(output / "scores.json")["scores"]
    _store(Score, (_score(evaluation, one) for one in scores), evaluation)
    _store(
        Sample,
        (_sample(evaluation, line) for line in _lines(output / "samples.jsonl")),
        evaluation,
    )
    _store(
        DocumentLoss,
        (_document(evaluation, line, held_out) for line in _lines(output / "documents.jsonl")),
        evaluation,
    )
    settings = _json(output / "settings.json")
    with transaction.atomic():
        changed = Evaluation.objects.filter(pk=evaluation.pk, measured=False).update(
            measured=True, problem="", settings=settings
        )
        if changed:
            evaluation.refresh_from_db()
            transaction.on_commit(
                lambda: evaluation_measured.send_robust(Evaluation, evaluation=evaluation)
            )


def _store(model: type[models.Model], rows: Iterator[models.Model], evaluation: Evaluation) -> None:
    """Insert rows in chunks. Rows of an import that was cut off are kept, so it can go on."""
    count = 0
    manager = model._default_manager
    while chunk := list(islice(rows, CHUNK_ROWS)):
        count += len(chunk)
        with transaction.atomic():
            manager.bulk_create(chunk, ignore_conflicts=True)
    stored = manager.filter(evaluation=evaluation).count()
    if stored != count:
        raise ResultsError(
            f"{count} {model._meta.verbose_name_plural} were measured but {stored} are different."
        )


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
    evaluation: Evaluation, line: dict[str, Any], held_out: dict[str, HeldOutSet]
) -> DocumentLoss:
    nll_nats = _number(line["nll_nats"])
    if nll_nats is None:
        raise ResultsError("a document's likelihood is no number; the weights may be broken.")
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


def _json(path: Path) -> dict[str, Any]:
    return _parsed(path.name, lambda: json.loads(path.read_text(encoding="utf-8")))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            yield _parsed(f"{path.name}, line {number}", lambda line=line: json.loads(line))


def _parsed(where: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except ValueError as error:
        raise ResultsError(f"{where} is not JSON.") from error
