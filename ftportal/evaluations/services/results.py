"""What the engine measured, brought into the database."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction

from engine.numbers import finite_or_none
from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models import DocumentLoss, Evaluation, Sample, Score
from ftportal.evaluations.services.early import early_judge
from ftportal.evaluations.services.repeats import noise_of
from ftportal.evaluations.services.storing import (
    ResultsError,
    json_read,
    lines_read,
    loss_of,
    rows_store,
)
from ftportal.evaluations.signals import evaluation_measured
from ftportal.jobs.models import Job, JobState


def evaluation_finish(job: Job) -> None:
    """Store what a finished job has measured and say so; may be called again and again."""
    evaluations = Evaluation.with_repeats.select_related("job", "suite").filter(job=job)
    evaluation = evaluations.first()
    if evaluation is None or evaluation.measured or job.state != JobState.SUCCEEDED:
        return
    try:
        _output_import(evaluation, job.output_directory)
    except (ResultsError, OSError) as error:
        message = f"The results could not be used: {error} Measure again."
        evaluations.filter(measured=False).update(problem=message)


def _output_import(evaluation: Evaluation, output: Path) -> None:
    """Store all rows in chunks, then make them visible by one last update."""
    held_out = {one.sha256: one for one in evaluation.suite.held_out_sets.all()}
    settings = json_read(output / "settings.json")
    owner = {"evaluation": evaluation}
    rows_store(Score, owner, _scores(output / "scores.json"), partial(_score, evaluation))
    rows_store(Sample, owner, lines_read(output / "samples.jsonl"), partial(_sample, evaluation))
    document = partial(_document, evaluation, held_out=held_out)
    rows_store(DocumentLoss, owner, lines_read(output / "documents.jsonl"), document)
    noise = noise_of(evaluation) if evaluation.repeat else {}
    with transaction.atomic():
        changed = Evaluation.with_repeats.filter(pk=evaluation.pk, measured=False).update(
            measured=True, problem="", settings=settings, noise=noise
        )
        if changed and not evaluation.repeat:  # nobody waits for a repeat
            evaluation.refresh_from_db()
            if evaluation.adaptive_key:
                transaction.on_commit(lambda: early_judge(evaluation=evaluation))
                return
            transaction.on_commit(
                lambda: evaluation_measured.send_robust(Evaluation, evaluation=evaluation)
            )


def _scores(path: Path) -> Iterator[tuple[str, Any]]:
    decoded = json_read(path)
    if not isinstance(decoded, dict) or not isinstance(decoded.get("scores"), list):
        raise ResultsError(f"{path.name} holds no list of scores.")
    for number, record in enumerate(decoded["scores"], start=1):
        yield f"{path.name}, score {number}", record


def _score(evaluation: Evaluation, line: dict[str, Any]) -> Score:
    return Score(
        evaluation=evaluation,
        benchmark=line["benchmark"],
        metric=line["metric"],
        value=finite_or_none(line["value"]),
        stderr=finite_or_none(line["stderr"]),
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
        margin_nats=finite_or_none(line["margin_nats"]),
        cluster=line["cluster"] or "",
        question=line["question"],
        target=line["target"],
        answer=line["answer"],
    )


def _document(
    evaluation: Evaluation, line: dict[str, Any], *, held_out: dict[str, HeldOutSet]
) -> DocumentLoss:
    return DocumentLoss(
        evaluation=evaluation,
        held_out_set=held_out[line["held_out_key"]],
        doc_hash=line["doc_hash"],
        nll_nats=loss_of(line),
        tokens=int(line["tokens"]),
        bytes=int(line["bytes"]),
    )
