"""What a batch's page says of its reading: choices, numbers, fields, notices and problems."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corpus.notices import NOTICES
from corpus.screening.personal import KINDS
from ftportal.datasets.models import DECISION_RULES, Batch, BatchProblem
from ftportal.pages.bar_charts import Bar, bar_chart
from ftportal.pages.charts import Chart
from training.config import RunConfig

GOOD_DECISION_TOKENS = (50, 256)
"""Decision tokens an example with which learning is known to work well."""
_LINES_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ChoiceRow:
    """What one decision rule learns of the file."""

    rule: str
    word: str
    decisions: int
    calls: int
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class NoticeRow:
    """Something that is said of examples that can be used."""

    title: str
    cure: str
    count: int
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """One outcome: how often it has each value, and a filter that would keep the best."""

    name: str
    chart: Chart | None
    total: int
    best: float
    best_count: int


@dataclass(frozen=True, kw_only=True)
class NearGroup:
    """Examples that say almost the same."""

    number: int
    size: int
    lines: Sequence[int]
    """The first ones' lines."""
    has_places: bool
    """Whether they can be opened; batches of the version before only knew their lines."""


@dataclass(kw_only=True)
class ProblemGroup:
    """Equal problems: what is wrong once, with all its lines."""

    message: str
    cure: str
    text: str
    lines: list[int] = field(default_factory=list)

    @property
    def more(self) -> int:
        """Lines beside those that are shown."""
        return max(0, len(self.lines) - _LINES_SHOWN)

    @property
    def shown(self) -> list[int]:
        """The first lines; line 0 is the whole file."""
        return self.lines[:_LINES_SHOWN]


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """A batch's report for its page; parts that are not known yet are empty."""

    choices: Sequence[ChoiceRow]
    call_count: int
    last_decision: tuple[str, int] | None
    """A last decision that many examples share, and how many."""
    frequent: Sequence[tuple[str, int]]
    """Last decisions that stand in more than one example, the commonest first."""
    notices: Sequence[NoticeRow]
    left_out: Sequence[tuple[str, int]]
    fields: Sequence[tuple[str, Sequence[str]]]
    """Ways a field can end, each with the fields that did."""
    outcomes: Sequence[OutcomeRow]
    charts: Sequence[Chart]
    long_count: int
    """Examples of as many tokens as a session reads by default, or more: at most these are cut."""
    length_limit_tokens: int
    duplicate_count: int
    reasoning_count: int
    empty_reasoning_count: int
    """Examples whose empty reasoning is learnt, where that was chosen."""

    @property
    def differs(self) -> bool:
        """Whether the decision rules learn different things of this file."""
        return len({row.decisions for row in self.choices}) > 1


def report_of(batch: Batch) -> BatchReport | None:
    """The report of a batch; None before it was read, or where it was read by an older version."""
    report = batch.report
    if not report.get("example_count"):
        return None
    return BatchReport(
        choices=_choices(batch, report),
        call_count=report.get("tool_call_count", 0),
        last_decision=_last_decision(report),
        frequent=_frequent(report),
        notices=_notices(report),
        left_out=sorted(report.get("left_out", {}).items(), key=lambda one: -one[1]),
        fields=_fields(report),
        outcomes=[_outcome(name, counts) for name, counts in report.get("outcomes", {}).items()],
        charts=_charts(report),
        long_count=_long_count(report),
        length_limit_tokens=RunConfig.max_example_tokens,
        duplicate_count=report.get("duplicate_count", 0),
        reasoning_count=report.get("reasoning_count", 0),
        empty_reasoning_count=report.get("notices", {}).get("empty_reasoning_learnt", 0),
    )


def _choices(batch: Batch, report: Mapping[str, Any]) -> list[ChoiceRow]:
    decisions, calls = report.get("decisions", {}), report.get("calls_learnt", {})
    return [
        ChoiceRow(
            rule=rule,
            word=word,
            decisions=decisions.get(rule, 0),
            calls=calls.get(rule, 0),
            is_chosen=rule == batch.decision_rule,
        )
        for rule, word in DECISION_RULES
    ]


def _last_decision(report: Mapping[str, Any]) -> tuple[str, int] | None:
    commonest = report.get("last_decisions", {})
    text, count = max(commonest.items(), key=lambda one: one[1], default=("", 0))
    return (text, count) if count > max(2, report["example_count"] // 20) else None


def _frequent(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    counts = sorted(report.get("last_decisions", {}).items(), key=lambda one: -one[1])
    return [(text, count) for text, count in counts if count > 1]


def _notices(report: Mapping[str, Any]) -> list[NoticeRow]:
    return [
        NoticeRow(
            title=NOTICES[kind].title,
            cure=NOTICES[kind].cure,
            count=count,
            rows=report.get("notice_rows", {}).get(kind, []),
        )
        for kind, count in report.get("notices", {}).items()
        if kind in NOTICES
    ]


def _fields(report: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    words = {
        "used": "Used",
        "metadata": "Kept aside as known metadata",
        "unused": "Not used",
        "empty": "Empty",
    }
    rows = [(word, sorted(report.get(name, {}))) for name, word in words.items()]
    return [(word, names) for word, names in rows if names]


def _long_count(report: Mapping[str, Any]) -> int:
    # The histogram's ranges begin at powers of two, as the limit is one.
    lengths = report.get("length_histogram", {})
    return sum(c for start, c in lengths.items() if int(start) >= RunConfig.max_example_tokens)


def _outcome(name: str, counts: Mapping[str, int]) -> OutcomeRow:
    values = sorted((float(value), count) for value, count in counts.items())
    bars = [Bar(label=f"{value:g}", count=count) for value, count in values]
    chart = None
    if len(bars) > 1:
        title = name.capitalize()
        chart = bar_chart(title=title, x_label=name, y_label="examples", bars=bars)
    best, best_count = values[-1]
    total = sum(counts.values())
    return OutcomeRow(name=name, chart=chart, total=total, best=best, best_count=best_count)


def _charts(report: Mapping[str, Any]) -> list[Chart]:
    charts = []
    low, high = GOOD_DECISION_TOKENS
    for name, title, caption in (
        (
            "decision_histogram",
            "Decision tokens an example",
            f"In full colour: {low} to {high} tokens.",
        ),
        ("context_histogram", "Context tokens an example", ""),
    ):
        counts = {int(value): count for value, count in report.get(name, {}).items()}
        if not counts:
            continue
        bars = [
            Bar(
                label=str(start) if start < 2 else f"{start}–{2 * start - 1}",
                count=counts[start],
                is_marked=name != "decision_histogram" or low / 2 < start <= high,
            )
            for start in sorted(counts)
        ]
        charts.append(
            bar_chart(title=title, x_label="tokens", y_label="examples", bars=bars, caption=caption)
        )
    return charts


def screening_of(batch: Batch) -> dict[str, Any] | None:
    """What was found when a batch was looked through, for its page; None before that."""
    screening = batch.report.get("screening")
    if not screening:
        return None
    batches = Batch.objects.in_bulk([int(row["key"]) for row in screening["earlier"]])
    near = screening["near"]
    return {
        "screened": screening["screened"],
        "sketched": screening["sketched"],
        "near_examples": near["examples"],
        "near_clusters": near["clusters"],
        "distinct": screening["screened"] - near["examples"] + near["clusters"],
        "groups": [
            NearGroup(number=number, size=size, lines=lines, has_places="places" in near)
            for number, (size, lines) in enumerate(zip(near["sizes"], near["rows"], strict=True))
        ],
        "earlier": [
            row | {"batch": batches[int(row["key"])]}
            for row in screening["earlier"]
            if int(row["key"]) in batches
        ],
        "personal": [(KINDS[kind], count) for kind, count in screening["personal_counts"].items()],
        "personal_rows": [row | {"word": KINDS[row["kind"]]} for row in screening["personal"]],
        "contaminated_count": screening["contaminated_count"],
    }


def problem_groups(problems: Sequence[BatchProblem]) -> list[ProblemGroup]:
    """Problems by what is wrong, whatever turn or number they name; the commonest first."""
    groups: dict[str, ProblemGroup] = {}
    for problem in problems:
        key = re.sub(r"\d+", "#", re.sub(r'"[^"]*"', '""', problem.message)) + problem.cure
        group = groups.setdefault(
            key, ProblemGroup(message=problem.message, cure=problem.cure, text=problem.text)
        )
        group.lines.append(problem.line)
    return sorted(groups.values(), key=lambda group: -len(group.lines))
