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
from collections.abc import Mapping
from typing import Any

import training.config as settings

_LINE_LENGTH = 100
_CONSTANT = re.compile(r"\b[A-Z][A-Z_]+\b")


def field_comments(cls: type) -> dict[str, str]:
    """Return the docstring of every field of a config's dataclass, in words of JSON."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    comments = {}
    for one, after in itertools.pairwise(body):
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = " ".join(str(after.value.value).split())
            comments[one.target.id] = _CONSTANT.sub(_choices, re.sub(r"\bNone\b", "null", words))
    return comments


def _choices(match: re.Match[str]) -> str:
    """What a constant of the config holds, in place of its name; any other word as it is."""
    values = getattr(settings, match[0], None)
    return ", ".join(values) if isinstance(values, tuple) else match[0]


def commented(cls: type, record: Mapping[str, Any], indent: int = 0) -> str:
    """Write a config of this class as JSON with // comments above its fields.

    record: complete, as `to_json` gives it.
    """
    comments = field_comments(cls)
    inner = " " * (indent + 2)
    parts = []
    for item in dataclasses.fields(cls):
        lines = textwrap.wrap(comments.get(item.name, ""), _LINE_LENGTH - indent - 5)
        text = "".join(f"{inner}// {line}\n" for line in lines)
        parts.append(f"{text}{inner}{json.dumps(item.name)}: {_value(item.name, record, indent)}")
    return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"


def _value(name: str, record: Mapping[str, Any], indent: int) -> str:
    value = record[name]
    if name in settings.GROUPS:
        return commented(settings.GROUPS[name], value, indent + 2)
    classes = {"batches": settings.BatchConfig, "probes": settings.ProbeConfig}
    if name in classes and value:
        # The comments of the first one do for all of them.
        first, *others = value
        rows = [commented(classes[name], first, indent + 4)]
        rows += [json.dumps(dict(other)) for other in others]
        inner = " " * (indent + 4)
        return "[\n" + ",\n".join(inner + row for row in rows) + "\n" + " " * (indent + 2) + "]"
    return json.dumps(value)
