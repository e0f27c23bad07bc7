"""Arguments of a chat template's own, such as enable_thinking. No Jinja here."""

import sys
from typing import Any

from engine.checks import ConfigError

GIVEN = frozenset(
    ("messages", "tools", "documents", "add_generation_prompt", "strftime_now", "raise_exception")
)
"""What every template gets with a conversation: nobody gives it by hand."""
_CURE = 'Write an object of plain values, such as {"enable_thinking": false}.'


def arguments_check(arguments: Any) -> None:
    """Raise ConfigError unless this is {name: text, number, true or false}."""
    if not isinstance(arguments, dict):
        raise ConfigError("template_arguments", "is not an object", _CURE)
    for name, value in arguments.items():
        where = f"template_arguments.{name[:80]}"
        if name in GIVEN:
            raise ConfigError(where, "comes with each conversation", "Leave it out.")
        is_number = isinstance(value, int | float) and abs(value) <= sys.float_info.max
        if not is_number and not isinstance(value, str):
            raise ConfigError(where, "is not a plain value", _CURE)
