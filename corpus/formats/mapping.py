"""A mapping that a person made: which column is what, for files of no known format."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from corpus.examples import Turn
from corpus.fields import Fields
from corpus.formats.marks import LeftOutError, mark_value
from corpus.formats.outcomes import outcome_number
from corpus.jsontext import ExampleError, shown

TARGETS = {
    "system": "System prompt",
    "user": "User",
    "assistant": "Assistant",
    "reasoning": "Reasoning",
    "mark": "Mark: whether it is learnt",
    "outcome": "Outcome",
    "aside": "Kept aside, not used",
}
"""What a column can be; several columns of one target are joined by an empty line."""


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Which columns of a file are what."""

    columns: Mapping[str, str]
    """Column -> one of TARGETS."""

    @classmethod
    def from_json(cls, record: Any) -> "ColumnMapping":
        """Read {"column": "target"}; ValueError says what is wrong."""
        if not isinstance(record, dict) or not record:
            raise ValueError("a mapping names at least one column")
        for column, target in record.items():
            if target not in TARGETS:
                raise ValueError(f"{column}: {target!r} is none of {', '.join(TARGETS)}")
        for needed in ("user", "assistant"):
            if needed not in record.values():
                raise ValueError(f"no column is the {needed}")
        return cls(columns=dict(record))

    def fits(self, names: Collection[str]) -> bool:
        """Whether a record with these columns has one that is learnt."""
        needed = [name for name, target in self.columns.items() if target == "assistant"]
        return any(name in names for name in needed)

    def parse(self, fields: Fields) -> tuple[list[Turn], dict[str, float]]:
        """Return the turns and the outcome of a record; LeftOutError where its mark says no."""
        texts: dict[str, list[str]] = {target: [] for target in TARGETS}
        outcome: dict[str, float] = {}
        for column, target in self.columns.items():
            if target == "aside":
                fields.pass_over(column)
                continue
            value = fields.take(column)
            if value is None or value == "":
                continue
            if target == "mark":
                if not mark_value(value, column):
                    raise LeftOutError(f"its {column} is {shown(value)}")
            elif target == "outcome":
                outcome[column] = _number(value, column)
            else:
                texts[target].append(_text(value, column))
        joined = {target: "\n\n".join(parts) for target, parts in texts.items()}
        if not joined["user"] or not joined["assistant"]:
            missing = "user" if not joined["user"] else "assistant"
            raise ExampleError(f"the {missing}'s column is empty", "Fill it, or leave the row out.")
        turns = [Turn(role="system", content=joined["system"])] if joined["system"] else []
        turns.append(Turn(role="user", content=joined["user"]))
        reasoning = joined["reasoning"] or None
        turns.append(Turn(role="assistant", content=joined["assistant"], reasoning=reasoning))
        return turns, outcome


def _text(value: Any, column: str) -> str:
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        raise ExampleError(f"{column} is not text", "Map a column that holds text.")
    return value


def _number(value: Any, column: str) -> float:
    number = outcome_number(value)
    if number is None:
        raise ExampleError(
            f"{column} is {shown(value)}, which is not an outcome", "Write a number, true or false."
        )
    return number
