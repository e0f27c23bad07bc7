"""What every part of a config is checked with: errors that name the field and the cure."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from engine.errors import PlacedError
from engine.numbers import is_number


class ConfigError(PlacedError):
    """A setting is wrong: `where` names the field, `message` what is wrong, `cure` what to do."""


def fields_of(cls: type, record: Any, where: str) -> dict[str, Any]:
    """Return the fields of a JSON object, after a check for unknown and missing ones."""
    if not isinstance(record, Mapping):
        raise ConfigError(where or "config", "is not a JSON object", "Write an object of fields.")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    prefix = f"{where}." if where else ""
    for name in record:
        if name not in fields:
            known = ", ".join(fields)
            raise ConfigError(f"{prefix}{name}", "unknown field", f"Use only: {known}.")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING
        if required and item.default_factory is dataclasses.MISSING and name not in record:
            raise ConfigError(f"{prefix}{name}", "is missing", "Add the field.")
    return dict(record)


def text_check(where: str, value: Any) -> None:
    """Refuse what is not text, or an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(where, "is not text, or is empty", "Write a non-empty text.")


def choice_check(where: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is not one of the choices."""
    if value not in choices:
        raise ConfigError(where, f"{value!r} is not known", f"Use one of: {', '.join(choices)}.")


def whole_check(where: str, value: Any, minimum: int, *, optional: bool = False) -> None:
    """Refuse what is not a whole number of at least `minimum` (nor None, if `optional`)."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        cure = f"Write a whole number of at least {minimum}."
        raise ConfigError(where, f"{value!r} is not valid", cure)


def number_check(
    where: str,
    value: Any,
    *,
    minimum: float = 0.0,
    above: bool = False,
    maximum: float = math.inf,
    optional: bool = False,
) -> None:
    """Refuse what is not a finite number from minimum (itself excluded if `above`) to maximum."""
    if optional and value is None:
        return
    low_enough = is_number(value) and math.isfinite(value) and value <= maximum
    if not low_enough or value < minimum or (above and value == minimum):
        bound = f"above {minimum:g}" if above else f"of at least {minimum:g}"
        limit = "" if math.isinf(maximum) else f" and at most {maximum:g}"
        raise ConfigError(where, f"{value!r} is not valid", f"Write a number {bound}{limit}.")
