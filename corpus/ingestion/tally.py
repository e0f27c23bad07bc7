"""What was counted so far, of a part or of a whole file; parts add up.

Everything is JSON: a tally is kept in a state and goes on from there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from corpus.examples import DECISION_RULES, Example
from corpus.fields import Account, Notice
from corpus.jsontext import shown
from corpus.reasoning import has_reasoning

NOTICE_ROWS = 200
"""Rows of each notice that are kept; more are only counted."""
_COMMON_TOLD, _COMMON_KEPT = 20, 1000
_OUTCOME_DIGITS = 3
DECISION_CHARACTERS = 200
"""Of a last decision that are counted."""


class Counts:
    """Counts that are JSON: kept in a state, and taken up again from there."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return all of them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read back what `to_json` returned."""
        counts = cls()
        for name, value in record.items():
            is_counter = isinstance(getattr(counts, name), Counter)
            setattr(counts, name, Counter(value) if is_counter else value)
        return counts


def summaries_join(reading: Mapping[str, Any], counting: Mapping[str, Any]) -> dict[str, Any]:
    """One summary of both passes: problems and notices add up. reading may be empty."""
    joined = {**reading, **counting}
    joined["problem_count"] += reading.get("problem_count", 0)
    for name in ("notices", "notice_rows"):
        joined[name] = {**reading.get(name, {}), **counting[name]}
    return joined


@dataclass(kw_only=True)
class Tally(Counts):
    """Counts of the reading pass."""

    formats: Counter[str] = field(default_factory=Counter)
    example_count: int = 0
    held_out_count: int = 0
    duplicate_count: int = 0
    """Examples that stand in the file already."""
    turn_count: int = 0
    tool_call_count: int = 0
    reasoning_count: int = 0
    """Examples with reasoning."""
    problem_count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Why records are not learnt, by their own word or by a filter."""
    used: Counter[str] = field(default_factory=Counter)
    metadata: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    """Examples in which a field stands, by path, for each of the four ways it can end."""
    unused_values: dict[str, str] = field(default_factory=dict)
    """One value of each field that is not used."""
    notices: Counter[str] = field(default_factory=Counter)
    """Examples by kind of notice."""
    notice_rows: dict[str, list[list[Any]]] = field(default_factory=dict)
    """[line, where, detail], the first of each kind."""
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    """How often each outcome has each value."""
    decisions: Counter[str] = field(default_factory=Counter)
    """Decisions that each rule would learn."""
    calls_learnt: Counter[str] = field(default_factory=Counter)
    """Tool calls that each rule would learn."""
    last_decisions: Counter[str] = field(default_factory=Counter)
    """The commonest last decisions, in short."""
    unknown_count: int = 0
    """Records of no known format."""
    unknown_columns: Counter[str] = field(default_factory=Counter)
    unknown_rows: list[dict[str, str]] = field(default_factory=list)
    """The first records of no known format, shortened."""
    preference_count: int = 0
    """Records of preference data that nobody has chosen to learn."""

    def example_add(self, example: Example, format_name: str) -> None:
        """Count an example before its decisions are marked."""
        self.formats[format_name] += 1
        self.example_count += 1
        self.turn_count += len(example.turns)
        self.reasoning_count += has_reasoning(example)
        for name, value in example.outcome.items():
            counts = self.outcomes.setdefault(name, Counter())
            counts[f"{value:.{_OUTCOME_DIGITS}g}"] += 1
        self._decisions_add(example)

    def _decisions_add(self, example: Example) -> None:
        assistant = [turn for turn in example.turns if turn.role == "assistant"]
        self.tool_call_count += sum(len(turn.tool_calls) for turn in assistant)
        marked = [turn for turn in assistant if turn.train]
        for rule in DECISION_RULES:
            candidates = assistant if rule == "all" else assistant[-1:]
            chosen = marked or [turn for turn in candidates if turn.train is None]
            self.decisions[rule] += len(chosen)
            self.calls_learnt[rule] += sum(len(turn.tool_calls) for turn in chosen)
        if assistant:
            last = assistant[-1]
            calls = ", ".join(f"{c.name}({shown(c.arguments)})" for c in last.tool_calls)
            self.last_decision_add(calls or last.content)

    def last_decision_add(self, text: str) -> None:
        """Count what an example ends with, by its first characters."""
        self.last_decisions[text[:DECISION_CHARACTERS]] += 1
        if len(self.last_decisions) > 4 * _COMMON_KEPT:
            self._common_keep()

    def _common_keep(self) -> None:
        if len(self.last_decisions) > 2 * _COMMON_KEPT:
            # Those that came once go first: mostly all are such, and sorting them takes longer.
            often = Counter({text: n for text, n in self.last_decisions.items() if n > 1})
            if len(often) > _COMMON_KEPT:
                often = Counter(dict(_commonest(often, _COMMON_KEPT)))
            self.last_decisions = often

    def account_add(self, account: Account, line: int) -> None:
        """Count what became of the fields of a record."""
        for name in ("used", "metadata", "empty", "unused"):
            getattr(self, name).update(sorted(getattr(account, name)))
        for path, value in account.unused.items():
            self.unused_values.setdefault(path, value)
        self.notices_add(account.notices, line)

    def notices_add(self, notices: Iterable[Notice], line: int) -> None:
        """Note what is said of a record."""
        notices = list(notices)
        self.notices.update(sorted({notice.kind for notice in notices}))
        for notice in notices:
            rows = self.notice_rows.setdefault(notice.kind, [])
            if len(rows) < NOTICE_ROWS:
                rows.append([line, notice.where, notice.detail])

    def unknown_add(self, record: Any) -> None:
        """Keep the columns of a record of no known format, for a person to say what they are."""
        self.unknown_count += 1
        if isinstance(record, Mapping):
            self.unknown_columns.update(str(name) for name in record)
            if len(self.unknown_rows) < 3:
                self.unknown_rows.append(
                    {str(name): _shortened(value) for name, value in record.items()}
                )

    def merge(self, other: "Tally") -> None:
        """Add the counts of what comes after."""
        for name in self.__dataclass_fields__:
            own, more = getattr(self, name), getattr(other, name)
            if isinstance(own, Counter):
                own.update(more)
            elif isinstance(own, int):
                setattr(self, name, own + more)
        for path, value in other.unused_values.items():
            self.unused_values.setdefault(path, value)
        for kind, rows in other.notice_rows.items():
            kept = self.notice_rows.setdefault(kind, [])
            kept += rows[: NOTICE_ROWS - len(kept)]
        for name, counts in other.outcomes.items():
            self.outcomes.setdefault(name, Counter()).update(counts)
        self.unknown_rows += other.unknown_rows[: 3 - len(self.unknown_rows)]
        self._common_keep()

    def to_json(self) -> dict[str, Any]:
        """Return all of them."""
        record = super().to_json()
        record["last_decisions"] = dict(_commonest(self.last_decisions, _COMMON_KEPT))
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read back what `to_json` returned."""
        tally = super().from_json(record)
        tally.outcomes = {name: Counter(counts) for name, counts in tally.outcomes.items()}
        return tally

    def summary(self) -> dict[str, Any]:
        """Return the counts as summary.json holds them."""
        names = sorted(self.formats)
        record = self.to_json()
        record["format"] = names[0] if len(names) == 1 else "mixed" if names else None
        record["last_decisions"] = dict(_commonest(self.last_decisions, _COMMON_TOLD))
        return record


def _commonest(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:most]


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else shown(value)
    return text if len(text) <= 500 else text[:500] + "…"
