"""Benchmarks of one's own: upload, and removal while no suite asks for them."""

import os
from collections.abc import Sequence

from django.core.files import File
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from evaluation.suites.items import (
    ItemProblem,
    OwnItem,
    content_hash,
    items_read,
    items_write,
    kind_of,
)
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.datasets.documents import text_read
from ftportal.datasets.services import DatasetError
from ftportal.datasets.uploads import incoming_path
from ftportal.evaluations.models import OwnBenchmark, Suite
from ftportal.evaluations.services.suites import EvaluationError


class ItemsRefusedError(EvaluationError):
    """An uploaded file was not taken; `problems` says why, line by line."""

    def __init__(self, problems: Sequence[ItemProblem]) -> None:
        count = len(problems)
        lines = "one line" if count == 1 else f"{count} lines"
        super().__init__(f"Nothing was taken: {lines} cannot be used.", "Mend the file.")
        self.problems = problems


def own_benchmark_upload(
    *, uploaded_by: User | None, name: str, description: str, file: File
) -> OwnBenchmark:
    """Keep an uploaded JSONL file of items as a benchmark.

    Raises ItemsRefusedError with every line that is wrong, EvaluationError where the file cannot
    be read, its name is taken, or the same items are there already.
    """
    try:
        text = text_read(file)
    except DatasetError as error:
        raise EvaluationError(error.message, error.cure) from error
    items, problems = items_read(text)
    if problems:
        raise ItemsRefusedError(problems)
    canonical = items_write(items)
    made = OwnBenchmark(
        name=name.strip(),
        description=description.strip(),
        kind=kind_of(items),
        content_hash=content_hash(canonical),
        item_count=len(items),
        cluster_count=_cluster_count(items),
        uploaded_by=uploaded_by,
    )
    made.key = f"own_{slugify(made.name).replace('-', '_')[:40]}_{made.content_hash[:12]}"
    return _keep(made, canonical)


def _cluster_count(items: Sequence[OwnItem]) -> int:
    named = [one.cluster for one in items if one.cluster]
    return len(set(named)) if len(set(named)) < len(named) else 0


def _keep(made: OwnBenchmark, canonical: str) -> OwnBenchmark:
    _check_free(made)
    partial = incoming_path("benchmarks")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as stream:
            stream.write(canonical.encode())
            stream.flush()
            os.fsync(stream.fileno())
        with transaction.atomic():
            made.full_clean()
            made.save()
            partial.replace(made.path)
            record("benchmark.made", made, after={"sha256": made.content_hash})
    except IntegrityError:  # somebody was faster
        _check_free(made)
        raise
    finally:
        partial.unlink(missing_ok=True)
    return made


def _check_free(made: OwnBenchmark) -> None:
    twin = OwnBenchmark.objects.filter(content_hash=made.content_hash).first()
    if twin is not None:
        raise EvaluationError(f"The same items are there already, as {twin}.", "Use that one.")
    if OwnBenchmark.objects.filter(name=made.name).exists():
        raise EvaluationError(f"There is a benchmark {made.name} already.", "Choose another name.")


def own_benchmark_delete(*, benchmark: OwnBenchmark) -> None:
    """Remove a benchmark with its items. Raises EvaluationError where a suite asks for it."""
    with transaction.atomic():
        used = [
            str(suite)
            for suite in Suite.objects.all()
            if any(one["name"] == benchmark.key for one in suite.benchmarks)
        ]
        if used:
            raise EvaluationError(
                f"It is asked for by {', '.join(used)}.", "What was measured by it stays."
            )
        path = benchmark.path
        record("benchmark.deleted", benchmark, before={"sha256": benchmark.content_hash})
        benchmark.delete()
        transaction.on_commit(lambda: path.unlink(missing_ok=True))
