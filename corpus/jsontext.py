"""Strict JSON: one value for one text, whichever reader decodes it.

Python's own reader takes NaN, makes infinity of 1e400 and keeps the last of two equal keys; each of
these trains something else than the file says. All three are refused, and so is deep nesting.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.errors import ProblemError

DEPTH_MAX = 64
_SHOWN_CHARACTERS = 60


class ExampleError(ProblemError):
    """An example cannot be used; `message` says what is wrong and where."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ExampleError(
            f"the key {shown(twice)} stands twice in one object",
            "Keep one of the two: readers do not agree which of them counts.",
        )
    return value


def _constant(name: str) -> Any:
    raise ExampleError(
        f"{name} is not a number that JSON has", "Write a finite number, null, or leave it out."
    )


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _constant(text[:_SHOWN_CHARACTERS])
    return value


def _integer(text: str) -> int | float:
    # Python refuses whole numbers of more than 4,300 digits with an error of its own.
    return int(text) if len(text) <= 4000 else _constant(f"a number of {len(text):,} digits")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
)
_SPACE = re.compile(r"[ \t\r\n]*")


def json_decode(text: str) -> Any:
    """Decode one JSON text strictly; ExampleError says what is wrong and at which character."""
    try:
        value, end = value_take(text, _space_end(text, 0))
        end = _space_end(text, end)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except json.JSONDecodeError as error:
        raise not_json(error) from None
    return value


def value_take(text: str, start: int) -> tuple[Any, int]:
    """Decode the JSON value that begins at `start`; return it and where it ends.

    Raises json.JSONDecodeError where the text is not JSON, or not yet all of it, and ExampleError
    where it is JSON that is refused.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise _too_deep() from None
    depth_check(value)
    return value, end


def _space_end(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


_WORDS = {
    "Expecting ',' delimiter": "a comma is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting value": "a value is missing",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing",
    "Illegal trailing comma before end of object": "a comma stands before the closing brace",
    "Illegal trailing comma before end of array": "a comma stands before the closing bracket",
    "Unterminated string starting at": "a string does not end",
    "Invalid control character at": "a line break or control character stands in a string",
    "Invalid \\escape": "a backslash is followed by a sign that JSON does not escape",
    "Invalid \\uXXXX escape": "\\u is not followed by four hexadecimal digits",
    "Extra data": "text follows the end of the value",
}


def not_json(error: json.JSONDecodeError) -> ExampleError:
    """Say why a text is not JSON, with the position in the record (the line is told elsewhere)."""
    what = next((w for name, w in _WORDS.items() if error.msg.startswith(name)), error.msg)
    around = error.doc[max(0, error.pos - 20) : error.pos + 20]
    return ExampleError(
        f"not JSON: {what} at character {error.pos + 1}, near {shown(around)}",
        "Write one JSON object a line.",
    )


def shown(value: Any) -> str:
    """A value as a message quotes it: short, in JSON's own signs."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _too_deep() -> ExampleError:
    return ExampleError(
        f"brackets nested more than {DEPTH_MAX} deep",
        "Check the file: conversations are never nested like this.",
    )


def depth_check(value: Any) -> None:
    """Refuse a decoded JSON value that is nested more than DEPTH_MAX deep (without recursion)."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise _too_deep()


def text_decode(text: str, what: str) -> Any:
    """Decode JSON that stands as text in a field; the ExampleError names the field."""
    try:
        return json_decode(text)
    except ExampleError as error:
        raise ExampleError(f"{what}, as text: {error.message}", error.cure) from None


def text_check(where: str, values: Iterable[Any]) -> None:
    """Refuse what no tokenizer, file or database can hold, however deep in JSON it stands."""
    for leaf in leaves_of(values):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            cure = "Write a finite number, null, or leave it out."
            raise ExampleError(f"{where} contains a number that is not finite", cure)
        if not isinstance(leaf, str):
            continue
        if "\0" in leaf:
            raise ExampleError(f"{where} contains a NUL character", "Remove it.")
        try:
            leaf.encode()
        except UnicodeEncodeError:
            raise ExampleError(
                f"{where} contains half of a surrogate pair", "Write whole characters."
            ) from None


def texts_of(values: Iterable[Any]) -> Iterator[str]:
    """Every string in decoded JSON, keys included."""
    return (leaf for leaf in leaves_of(values) if isinstance(leaf, str))


def leaves_of(values: Iterable[Any]) -> Iterator[Any]:
    """Everything in decoded JSON that is no list or object, keys included."""
    for value in values:
        if isinstance(value, Mapping):
            yield from leaves_of(value.keys())
            yield from leaves_of(value.values())
        elif isinstance(value, list | tuple):
            yield from leaves_of(value)
        else:
            yield value
