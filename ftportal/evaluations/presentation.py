"""Evidence turned into what a page shows: points and percent, words, charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.judging.comparison import FORGOTTEN
from evaluation.judging.rule import Rule
from evaluation.judging.verdict import POOLED_TITLE
from evaluation.suites import local_benchmarks
from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models import Verdict
from ftportal.evaluations.selectors import (
    ACCURACY,
    Row,
    anchor_sentence,
    benchmark_titles,
    rule_sentences,
)
from ftportal.pages.charts import Chart
from ftportal.pages.point_charts import Interval, interval_chart


@dataclass(frozen=True, kw_only=True)
class BenchmarkLine:
    """One benchmark before and after; differences and 95 % interval in points of 100 answers."""

    name: str
    title: str
    n: int
    before: float
    after: float
    difference_points: float
    low_points: float
    high_points: float
    worst_points: float
    """What "retained" is judged by: no lower, with 95 % confidence. Inside the interval, for that
    leaves 2.5 % on each side."""
    allowed_points: float
    lost: int
    gained: int
    outcome: str
    decides: bool
    items_needed: int | None
    nats: Mapping[str, Any] | None
    p_non_inferior: float
    p_loss: float
    p_loss_holm: float
    is_total: bool = False
    items_in_all: int | None = None
    """How many there are, where it was stopped as soon as the answer was certain."""

    @property
    def items_of(self) -> str:
        """The filter that shows its items: its name, or none for all benchmarks."""
        return "" if self.is_total else self.name


@dataclass(frozen=True, kw_only=True)
class TextLine:
    """One held-out text before and after; changes and 95 % interval in percent of perplexity."""

    title: str
    domain: str
    """What kind of text it is: prose, code, ...; empty where it repeats the title."""
    documents: int
    before: float
    after: float
    change_percent: float
    low_percent: float | None
    high_percent: float | None
    worst_percent: float | None
    """What "retained" is judged by: no higher, with 95 % confidence."""
    ratio: float
    allowed_percent: float
    outcome: str
    documents_needed: int | None
    p_non_inferior: float | None
    p_loss_holm: float | None


@dataclass(frozen=True, kw_only=True)
class VerdictPage:
    """A verdict as its page and the panels show it."""

    verdict: Verdict
    total: BenchmarkLine | None
    benchmarks: list[BenchmarkLine]
    texts: list[TextLine]
    rule_sentences: list[str]
    is_cumulative: bool
    newer: Verdict | None

    @property
    def lines(self) -> list[BenchmarkLine]:
        """All benchmarks together first, then each."""
        return [self.total, *self.benchmarks] if self.total else self.benchmarks

    @property
    def benchmark_chart(self) -> Chart | None:
        """The change of right answers with its interval, a row a benchmark."""
        if not self.lines:
            return None
        return interval_chart(
            title="Change in right answers",
            unit="points of 100 answers",
            intervals=[
                Interval(
                    label=one.title,
                    value=one.difference_points,
                    low=one.low_points,
                    high=one.high_points,
                )
                for one in self.lines
            ],
            caption="Left of the dashed line is worse. The bar is where the true change may lie "
            "(95 % interval).",
        )

    @property
    def text_chart(self) -> Chart | None:
        """The change of perplexity with its interval, a row a held-out text."""
        lines = [one for one in self.texts if one.low_percent is not None]
        if not lines:
            return None
        return interval_chart(
            title="Change in perplexity",
            unit="percent",
            intervals=[
                Interval(
                    label=one.title,
                    value=one.change_percent,
                    low=one.low_percent or 0.0,
                    high=one.high_percent or 0.0,
                )
                for one in lines
            ],
            caption="Right of the dashed line is worse. The bar is where the true change may lie "
            "(95 % interval).",
        )


def verdict_page(verdict: Verdict) -> VerdictPage:
    """The evidence of a verdict in points and percent."""
    evidence, titles = verdict.evidence, benchmark_titles()
    rule = Rule.from_json(evidence["rule"])
    pooled = evidence["pooled"]
    # Several benchmarks are summed up by a line of their own; one alone is its own sum.
    show_total = pooled is not None and len(evidence["benchmarks"]) > 1
    decides_each = rule.gate_on == "each" or not show_total
    return VerdictPage(
        verdict=verdict,
        total=_benchmark_line(pooled, POOLED_TITLE, decides=rule.gate_on == "pooled", total=True)
        if show_total
        else None,
        benchmarks=[
            _benchmark_line(
                one,
                titles.get(one["name"], one["name"]),
                decides=decides_each or one["outcome"] == FORGOTTEN,
            )
            for one in evidence["benchmarks"]
        ],
        texts=_text_lines(evidence["perplexities"]),
        rule_sentences=_rule_sentences(verdict, rule),
        is_cumulative=_is_cumulative(verdict, rule),
        newer=_newer(verdict),
    )


def _benchmark_line(
    one: Mapping[str, Any], title: str, *, decides: bool, total: bool = False
) -> BenchmarkLine:
    return BenchmarkLine(
        name=one["name"],
        title=title,
        n=one["n"],
        before=one["score_before"],
        after=one["score_after"],
        difference_points=100 * one["difference"],
        low_points=100 * one["interval_95"]["low"],
        high_points=100 * one["interval_95"]["high"],
        worst_points=100 * one["interval_90"]["low"],
        allowed_points=100 * one["margin"],
        lost=one["lost"],
        gained=one["gained"],
        outcome=one["outcome"],
        decides=decides,
        items_needed=one["items_needed"],
        nats=one["nats"],
        p_non_inferior=one["p_non_inferior"],
        p_loss=one["p_loss"],
        p_loss_holm=one["p_loss_holm"],
        is_total=total,
        items_in_all=one.get("items_in_all"),
    )


def _text_lines(perplexities: Sequence[Mapping[str, Any]]) -> list[TextLine]:
    names = [one["domain"] for one in perplexities]  # the evidence calls a set's name so
    domains = dict(HeldOutSet.objects.filter(name__in=names).values_list("name", "domain"))
    return [_text_line(one, domains.get(one["domain"], "")) for one in perplexities]


def _text_line(one: Mapping[str, Any], domain: str) -> TextLine:
    interval, one_sided, title = one["interval_95"], one["interval_90"], one["domain"]
    return TextLine(
        title=title,
        domain="" if domain.lower() == title.lower() else domain,
        documents=one["documents"],
        before=one["perplexity_before"],
        after=one["perplexity_after"],
        change_percent=100 * (one["ratio"] - 1),
        low_percent=100 * (interval["low"] - 1) if interval else None,
        high_percent=100 * (interval["high"] - 1) if interval else None,
        worst_percent=100 * (one_sided["high"] - 1) if one_sided else None,
        ratio=one["ratio"],
        allowed_percent=100 * (one["margin_ratio"] - 1),
        outcome=one["outcome"],
        documents_needed=one["documents_needed"],
        p_non_inferior=one["p_non_inferior"],
        p_loss_holm=one["p_loss_holm"],
    )


def _is_cumulative(verdict: Verdict, applied: Rule) -> bool:
    """Whether the budget of several sessions was applied instead of the rule's own margins."""
    return applied.to_json() != verdict.rule.rule


def _rule_sentences(verdict: Verdict, applied: Rule) -> list[str]:
    sentences = rule_sentences(applied)
    if _is_cumulative(verdict, applied):
        sentences.append(anchor_sentence(applied) + " The figures above already include that.")
    return sentences


def _newer(verdict: Verdict) -> Verdict | None:
    """The verdict on the same pair by a later version of the rule."""
    return (
        Verdict.objects.filter(
            before=verdict.before_id, after=verdict.after_id, created_at__gt=verdict.created_at
        )
        .order_by("-created_at")
        .first()
    )


def accuracy_chart(rows: Sequence[Row]) -> Chart | None:
    """One checkpoint's share of right answers with its interval, a row a benchmark."""
    intervals = [
        Interval(label=row.title, value=100 * cell.value, low=100 * cell.low, high=100 * cell.high)
        for row in rows
        for cell in row.cells[:1]
        if row.kind == ACCURACY and cell and cell.low is not None and cell.high is not None
    ]
    if not intervals:
        return None
    # Elsewhere nobody knows what guessing would get.
    local = {one.name for one in local_benchmarks()}
    all_local = all(row.name in local for row in rows if row.kind == ACCURACY and not row.is_total)
    guessing = "Of four choices, guessing gets a quarter right: the dashed line. "
    return interval_chart(
        title="Right answers",
        unit="percent of the items",
        intervals=intervals,
        reference=25.0 if all_local else 0.0,
        caption=f"{guessing if all_local else ''}The bar is the 95 % interval.",
    )
