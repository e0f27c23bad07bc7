"""Outcomes: whether what a record shows went well, as the source says."""

import math
from typing import Any

from corpus.fields import Fields

NAMES = (
    *("reward", "success", "resolved", "solved", "passed", "is_correct", "correct"),
    *("score", "rating", "quality"),
)


def outcome_take(fields: Fields) -> dict[str, float]:
    """Return what a record says of its outcome, as numbers; true is 1."""
    outcome: dict[str, float] = {}
    for name in NAMES:
        if name in fields and (value := _number(fields, name)) is not None:
            outcome[name] = value
    return outcome


def _number(fields: Fields, name: str) -> float | None:
    value: Any = fields.peek(name)
    number = outcome_number(value)
    if number is not None:
        fields.take(name)
    return number


def outcome_number(value: Any) -> float | None:
    """An outcome as a number, also where a table holds it as text; None where it is none."""
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        return None
    return float(value)


_WORDS = {"true": "1", "false": "0"}
