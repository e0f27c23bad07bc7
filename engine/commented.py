"""A config with a comment above every field, taken from the fields' own docstrings.

config.json is JSON for machines; whole lines that begin with // are the one thing beyond it that
the engine reads (`engine.attempt.config_read`), so that people can keep such a file as it is.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

_LINE_LENGTH = 100
_CONSTANT = re.compile(r"\b[A-Z][A-Z_]+\b")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a config's fields hold that have comments of their own."""

    constants: ModuleType
    """The config's package: choices that docstrings name by a constant of it are written out."""
    groups: Mapping[str, type] = field(default_factory=dict)
    """Fields that are objects, and their classes."""
    lists: Mapping[str, type] = field(default_factory=dict)
    """Fields that are lists of objects; the comments of the first one do for all of them."""


def field_comments(cls: type, constants: ModuleType) -> dict[str, str]:
    """Return the docstring of every field of a config's dataclass, in words of JSON."""

    def choices(match: re.Match[str]) -> str:
        values = getattr(constants, match[0], None)
        return ", ".join(values) if isinstance(values, tuple) else match[0]

    comments = {}
    for one, words in _documented(cls):
        comments[one] = _CONSTANT.sub(choices, re.sub(r"\bNone\b", "null", words))
    return comments


def _documented(cls: type) -> Iterator[tuple[str, str]]:
    """Fields with their docstrings, those of the classes that it extends first."""
    for part in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(part):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for one, after in itertools.pairwise(body):
            if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                yield one.target.id, " ".join(str(after.value.value).split())


def commented(cls: type, record: Mapping[str, Any], layout: Layout, indent: int = 0) -> str:
    """Write a config of this class as JSON with // comments above its fields.

    record: complete, as `to_json` gives it; what is no field of the class stands first.
    """
    comments = field_comments(cls, layout.constants)
    inner = " " * (indent + 2)
    names = {item.name for item in dataclasses.fields(cls)}
    parts = [
        f"{inner}{json.dumps(k)}: {json.dumps(v)}" for k, v in record.items() if k not in names
    ]
    for item in dataclasses.fields(cls):
        lines = textwrap.wrap(comments.get(item.name, ""), _LINE_LENGTH - indent - 5)
        text = "".join(f"{inner}// {line}\n" for line in lines)
        parts.append(
            f"{text}{inner}{json.dumps(item.name)}: {_value(item.name, record, layout, indent)}"
        )
    return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"


def _value(name: str, record: Mapping[str, Any], layout: Layout, indent: int) -> str:
    value = record[name]
    if name in layout.groups and value is not None:
        return commented(layout.groups[name], value, layout, indent + 2)
    if name in layout.lists and value:
        first, *others = value
        rows = [commented(layout.lists[name], first, layout, indent + 4)]
        rows += [json.dumps(dict(other)) for other in others]
        inner = " " * (indent + 4)
        return "[\n" + ",\n".join(inner + row for row in rows) + "\n" + " " * (indent + 2) + "]"
    return json.dumps(value)
