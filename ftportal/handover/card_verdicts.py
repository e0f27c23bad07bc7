"""The verdicts of a card, with their figures and intervals."""

from collections.abc import Iterator, Sequence

from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Verdict
from ftportal.evaluations.presentation import BenchmarkLine, TextLine, VerdictPage, verdict_page
from ftportal.handover.markdown import day, inline


def verdict_lines(checkpoint: Checkpoint) -> list[str]:
    """One part a baseline, the pre-trained model last; says so where nothing was judged."""
    verdicts = _in_force(checkpoint)
    if not verdicts:
        if checkpoint.is_pretrained:
            return ["It is what the others are measured against."]
        return ["**It was not measured.** What it has forgotten is not known."]
    lines: list[str] = []
    for verdict in verdicts:
        lines += [*_verdict(verdict, checkpoint), ""]
    return lines[:-1]


def _in_force(checkpoint: Checkpoint) -> list[Verdict]:
    """The last verdict of every suite against every baseline."""
    verdicts = Verdict.objects.filter(after__checkpoint=checkpoint).select_related(
        "before__checkpoint", "after__suite", "rule"
    )
    last: dict[tuple[int, str], Verdict] = {}
    for verdict in verdicts.order_by("-created_at", "-pk"):
        suite = verdict.after.suite.content_hash
        last.setdefault((verdict.before.checkpoint_id, suite), verdict)
    return sorted(last.values(), key=_order)


def _order(verdict: Verdict) -> tuple[bool, int, int]:
    """The newest baseline first, the pre-trained model last."""
    baseline = verdict.before.checkpoint
    return baseline.is_pretrained, -baseline.pk, verdict.after.suite_id


def _verdict(verdict: Verdict, checkpoint: Checkpoint) -> Iterator[str]:
    baseline = verdict.before.checkpoint
    word = "the pre-trained model" if baseline.is_pretrained else inline(baseline.name)
    if baseline.pk == checkpoint.parent_id:
        word += ", its parent" if not baseline.is_pretrained else ", which is its parent"
    yield f"### {verdict.get_outcome_display()}, against {word}"
    yield ""
    yield (
        f"{inline(verdict.reason)} Measured by {inline(verdict.after.suite.name)}, judged by the "
        f"rule {inline(verdict.rule)} on {day(verdict.created_at)}."
    )
    if verdict.evidence:
        page = verdict_page(verdict)
        yield ""
        yield from figure_lines(page)


def figure_lines(page: VerdictPage) -> Iterator[str]:
    """The table of a verdict's figures; nothing where there are none."""
    if not page.lines and not page.texts:
        return
    yield "| measure | n | before | after | difference | 90 % interval | allowed |"
    yield "|---|---|---|---|---|---|---|"
    yield from map(_benchmark_row, page.lines)
    yield from map(_text_row, page.texts)


def _benchmark_row(one: BenchmarkLine) -> str:
    low, high = f"{one.low_points:+.1f}", f"{one.high_points:+.1f}"
    cells = [
        inline(one.title),
        f"{one.n} items",
        f"{100 * one.before:.1f} %",
        f"{100 * one.after:.1f} %",
        f"{one.difference_points:+.1f} points",
        f"{low} to {high}",
        f"{-one.allowed_points:+.1f}",
    ]
    return _row(cells)


def _text_row(one: TextLine) -> str:
    spread = "–"
    if one.low_percent is not None and one.high_percent is not None:
        spread = f"{one.low_percent:+.1f} to {one.high_percent:+.1f}"
    cells = [
        f"perplexity, {inline(one.title)}",
        f"{one.documents} texts",
        f"{one.before:.2f}",
        f"{one.after:.2f}",
        f"{one.change_percent:+.1f} %",
        spread,
        f"{one.allowed_percent:+.1f}",
    ]
    return _row(cells)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
