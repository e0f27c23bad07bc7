"""The scores in a comparison: a row a benchmark or held-out set, each run against its baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evaluation.judging.rule import Rule
from evaluation.judging.verdict import POOLED_TITLE
from ftportal.dashboard.comparison_cells import Cell, Group, Row
from ftportal.dashboard.selectors import measurements
from ftportal.dashboard.selectors.comparison import BASELINES, Column, Comparison
from ftportal.dashboard.selectors.measurements import Measurement
from ftportal.evaluations.selectors import Change, benchmark_titles
from ftportal.pages.templatetags.pages import NOTHING, fixed, percent, signed

NOTHING_MEASURED = "Nothing is measured yet."


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row's measure: how it is computed, worded, and how much worse it may get."""

    title: str
    unit: str
    value: Callable[[Measurement], float | None]
    words: Callable[[float | None], str]
    change: Callable[[Measurement, Measurement], Change]
    change_unit: str
    allowed: Callable[[Rule], float | None]
    higher_is_better: bool
    scale: float
    """What changes are multiplied by for people: 100 makes points and percent."""
    places: int


def benchmark_group(compared: Comparison) -> Group:
    """Accuracies: all benchmarks together, then each."""
    names = measurements.names_in_order(
        column.after.items for column in compared.columns if column.after is not None
    )
    titles = benchmark_titles()
    measures = [_accuracy(POOLED_TITLE, "")] if len(names) > 1 else []
    measures += [_accuracy(titles.get(name, name), name) for name in names]
    note = (
        f"Share right, the difference to {BASELINES[compared.baseline]}, its 95 % interval. "
        "Worse or better is said where the interval leaves zero out."
    )
    return _group("Benchmarks", note, compared, measures)


def text_group(compared: Comparison) -> Group:
    """Perplexity a token; bits a byte where the runs' tokenizers differ."""
    names = measurements.names_in_order(
        column.after.texts for column in compared.columns if column.after is not None
    )
    against = (
        f"Then the change against {BASELINES[compared.baseline]}; red is more than the rule allows."
    )
    if compared.one_tokenizer:
        note = f"Perplexity a token on held-out text; lower is better. {against}"
        return _group("Perplexity", note, compared, [_perplexity(name) for name in names])
    note = (
        "These runs teach different language models or changed the tokenizer, so that their "
        "tokens differ: bits per byte can be compared, perplexity a token cannot. Lower is better. "
        f"{against}"
    )
    return _group("Bits per byte", note, compared, [_bits(name) for name in names])


def _group(title: str, note: str, compared: Comparison, measures: Sequence[Measure]) -> Group:
    rows = [_row(compared, one, is_first=one is measures[0]) for one in measures]
    return Group(title=title, note=note if rows else NOTHING_MEASURED, rows=rows)


def _accuracy(title: str, benchmark: str) -> Measure:
    return Measure(
        title=title,
        unit="share right",
        value=lambda measured: measurements.accuracy(measured, benchmark),
        words=percent,
        change=lambda before, after: measurements.accuracy_change(before, after, benchmark),
        change_unit="points",
        allowed=lambda rule: rule.margin_for(benchmark) if benchmark else rule.pooled_margin,
        higher_is_better=True,
        scale=100,
        places=1,
    )


def _perplexity(name: str) -> Measure:
    return Measure(
        title=name,
        unit="perplexity a token",
        value=lambda measured: measurements.perplexity_per_token(measured.texts.get(name, [])),
        words=lambda value: fixed(value, 2),
        change=lambda before, after: measurements.text_change(before, after, name),
        change_unit="%",
        allowed=lambda rule: rule.perplexity_margin_ratio - 1,
        higher_is_better=False,
        scale=100,
        places=1,
    )


def _bits(name: str) -> Measure:
    return Measure(
        title=name,
        unit="bits a byte",
        value=lambda measured: measurements.bits_per_byte(measured.texts.get(name, [])),
        words=lambda value: fixed(value, 3),
        change=lambda before, after: measurements.bits_change(before, after, name),
        change_unit="bits",
        allowed=lambda rule: None,
        higher_is_better=False,
        scale=1,
        places=3,
    )


def _row(compared: Comparison, measure: Measure, *, is_first: bool) -> Row:
    cells = [_cell(compared.rule_for(column), column, measure) for column in compared.columns]
    if not is_first:  # why a run is not measured is said once
        cells = [cell if cell.text != NOTHING else Cell() for cell in cells]
    return Row(title=measure.title, unit=measure.unit, cells=cells)


def _cell(rule: Rule, column: Column, measure: Measure) -> Cell:
    if column.after is None:
        return Cell(note=column.why_unmeasured)
    value = measure.value(column.after)
    shown = Cell(text=measure.words(value), value=value)
    if column.before is None or column.why_unpaired:
        return replace(shown, note=column.why_unpaired)
    change = measure.change(column.before, column.after)
    if change.value is None:
        return replace(shown, note=change.why_missing)
    tone = change.tone(higher_is_better=measure.higher_is_better, allowed=measure.allowed(rule))
    return replace(
        shown,
        note=f"{signed(measure.scale * change.value, measure.places)} {measure.change_unit}",
        details=_details(change, measure),
        tone=tone,
        change=change,
    )


def _details(change: Change, measure: Measure) -> list[str]:
    """The interval, and the counts of items where there are any."""
    details = ["no interval from one observation"]
    if change.low is not None and change.high is not None:
        low, high = (
            signed(measure.scale * bound, measure.places) for bound in (change.low, change.high)
        )
        details = [f"{low} to {high}"]
    if change.lost is not None:
        details.append(f"{change.lost} lost, {change.gained} gained")
    return details
