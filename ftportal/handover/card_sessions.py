"""The sessions of a card: batches with their shares, and the recipe."""

from collections.abc import Iterator

from ftportal.blends.models import percent_words
from ftportal.blends.selectors import blend_of
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import lineage
from ftportal.handover.markdown import day, inline
from ftportal.runs.models import Run
from ftportal.runs.recipes import recipe_words, shares


def session_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Every session of the lineage in order, or the blend that stands in its place."""
    path = [one for one in lineage(checkpoint) if not one.is_pretrained]
    for number, one in enumerate(path, start=1):
        if number > 1:
            yield ""
        run = _run_of(one)
        if run is not None:
            yield from _run(number, run)
        elif (blend := blend_of(one)) is not None:
            yield f"### {number}. A blend, {day(one.created_at)}"
            yield ""
            yield (
                f"Every weight lies {percent_words(blend.alpha)} of the way from "
                f"{inline(blend.parent)} to {inline(blend.candidate)}. Nothing was trained."
            )
            learned = _run_of(blend.candidate)
            if learned is not None:
                yield ""
                yield from _batches(learned)
        else:
            yield f"### {number}. {inline(one.name)}, {day(one.created_at)}"
            yield ""
            yield "How it was made is not recorded."


def _run_of(checkpoint: Checkpoint) -> Run | None:
    return (
        Run.objects.filter(output=checkpoint)
        .select_related("probe_set")
        .prefetch_related("mixture__batch")
        .first()
    )


def _run(number: int, run: Run) -> Iterator[str]:
    yield f"### {number}. {inline(run.name)}, {day(run.created_at)}"
    yield ""
    yield from _batches(run)
    yield ""
    yield "| setting | value |"
    yield "|---|---|"
    for label, value in recipe_words(run.recipe, run.probe_set):
        yield f"| {inline(label)} | {inline(value)} |"


def _batches(run: Run) -> Iterator[str]:
    parts = list(run.mixture.all())
    of_examples = shares([(part.batch, part.weight) for part in parts]) if parts else []
    yield "| batch | kind | share of the examples | examples | SHA-256 of the file |"
    yield "|---|---|---|---|---|"
    for part, share in zip(parts, of_examples, strict=True):
        batch = part.batch
        yield (
            f"| {inline(batch.name)} | {inline(batch.get_kind_display())} | {100 * share:.3g} % "
            f"| {batch.example_count or 0:,} | `{batch.sha256}` |"
        )
