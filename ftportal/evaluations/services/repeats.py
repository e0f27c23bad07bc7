"""A/A control: the same checkpoint measured twice by the same suite shows what chance does."""

from typing import Any

from django.db import transaction

from evaluation.judging.pairing import ComparisonError, paired_benchmark, paired_perplexity
from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation
from ftportal.evaluations.selectors import documents_of, items_of
from ftportal.evaluations.services.suites import EvaluationError, suite_check
from ftportal.jobs.services import job_submit


@transaction.atomic
def evaluation_repeat(*, evaluation: Evaluation, created_by: User | None) -> Evaluation:
    """Measure a checkpoint once more by the same suite, kept beside the first measurement.

    A repeat that waits or runs is returned instead of a second one. Raises EvaluationError where
    the first is not measured yet or the files are gone.
    """
    checkpoint = Checkpoint.with_exports.select_for_update().get(pk=evaluation.checkpoint_id)
    if not evaluation.measured:
        raise EvaluationError("It is not measured yet.", "Wait until it is.")
    if checkpoint.deleted_at is not None:
        raise EvaluationError(f"The files of {checkpoint} were deleted.", "Measure another one.")
    suite_check(evaluation.suite)
    repeats = Evaluation.with_repeats.filter(
        checkpoint=checkpoint, suite=evaluation.suite, repeat__gt=0
    ).select_related("job")
    waiting = next((one for one in repeats if not one.measured and one.job.is_live), None)
    if waiting is not None:
        return waiting
    title = f"Measure {checkpoint} again by {evaluation.suite}"
    made = Evaluation(
        checkpoint=checkpoint,
        suite=evaluation.suite,
        repeat=max((one.repeat for one in repeats), default=0) + 1,
        job=job_submit(kind="evaluate", title=title[:200], created_by=created_by),
        judged=True,
    )
    made.full_clean()
    made.save()
    record("evaluation.repeated", checkpoint, after={"suite": str(evaluation.suite)})
    return made


def noise_of(repeat: Evaluation) -> dict[str, Any]:
    """What differs between a repeat and the first measurement, as plain JSON values.

    {"benchmarks": [{"name", "n", "lost", "gained"}], "texts": [{"name", "documents", "ratio"}]};
    {"problem": why} where the two are not measurements of the same things.
    """
    first = Evaluation.objects.get(checkpoint=repeat.checkpoint_id, suite=repeat.suite_id)
    before, after = items_of(first), items_of(repeat)
    texts_before, texts_after = documents_of(first), documents_of(repeat)
    try:
        benchmarks = [
            paired_benchmark(name=name, before=items, after=after.get(name, []))
            for name, items in before.items()
        ]
        texts = [
            paired_perplexity(domain=name, before=documents, after=texts_after.get(name, []))
            for name, documents in texts_before.items()
        ]
    except ComparisonError as error:
        return {"problem": str(error)}
    return {
        "benchmarks": [
            {"name": one.name, "n": one.n, "lost": one.lost, "gained": one.gained}
            for one in benchmarks
        ],
        "texts": [
            {"name": one.domain, "documents": one.documents, "ratio": one.ratio} for one in texts
        ],
    }
