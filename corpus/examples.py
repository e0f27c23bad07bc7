"""A training example in the one form the portal keeps, and which of its turns are learnt.

An Example is a tuple of Turns whose roles are system, user, assistant or tool. No torch here: the
portal reads with this module.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import ProblemError

ROLES = ("system", "user", "assistant", "tool")
DECISION_RULES = ("last", "all")
_DEPTH_LIMIT = 64


class ExampleError(ProblemError):
    """An example cannot be used; `message` says what is wrong and where."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool by the assistant."""

    name: str
    arguments: Any
    """The decoded JSON arguments; the text itself where it is not JSON."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """One of ROLES."""
    content: str
    train: bool | None = None
    """Whether this turn is a decision: marked so, marked not so, or left to the decision rule."""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    """The tool whose output this turn is, where the source names it."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation to learn from."""

    turns: tuple[Turn, ...]
    format: str
    """Where it came from: messages, conversations, traj or prompt_completion."""
    tools: tuple[Mapping[str, Any], ...] = field(default=())
    """The tools the assistant was offered, in the source's own JSON."""

    def sha256(self) -> str:
        """Hash what was said; marks and format do not count, so a re-marked example is the same."""
        record = self.to_json()
        for turn in record["turns"]:
            turn.pop("train", None)
        text = json.dumps(record, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return {"turns": [...], "tools"?: [...]} as examples.jsonl holds it."""
        record: dict[str, Any] = {"turns": [_turn_to_json(turn) for turn in self.turns]}
        if self.tools:
            record["tools"] = [dict(tool) for tool in self.tools]
        return record


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    record: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.train is not None:
        record["train"] = turn.train
    if turn.tool_calls:
        record["tool_calls"] = [
            {"name": call.name, "arguments": call.arguments} for call in turn.tool_calls
        ]
    if turn.name is not None:
        record["name"] = turn.name
    return record


def example_from_json(record: Mapping[str, Any]) -> Example:
    """Read back what `Example.to_json` wrote."""
    turns = tuple(
        Turn(
            role=turn["role"],
            content=turn["content"],
            train=turn.get("train"),
            tool_calls=tuple(ToolCall(**call) for call in turn.get("tool_calls", ())),
            name=turn.get("name"),
        )
        for turn in record["turns"]
    )
    return Example(turns=turns, format="canonical", tools=tuple(record.get("tools", ())))


def json_decode(text: str) -> Any:
    """Decode one JSON text strictly (no NaN), refusing what is nested too deep; ExampleError."""
    try:
        value = json.loads(text, parse_constant=constant_refuse)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise not_json(error) from None
    depth_check(value)
    return value


def not_json(error: ValueError) -> ExampleError:
    """Say why a text is not JSON, with the position in the record (the line is told elsewhere)."""
    detail = str(error)
    if isinstance(error, json.JSONDecodeError):
        detail = f"{error.msg} at character {error.pos + 1}"
    return ExampleError(f"not JSON: {detail}", "Write one JSON object a line.")


def constant_refuse(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads although JSON has no such values."""
    raise ValueError(f"{name} is not a JSON value")


def _too_deep() -> ExampleError:
    return ExampleError(
        f"brackets nested more than {_DEPTH_LIMIT} deep",
        "Check the file: conversations are never nested like this.",
    )


def depth_check(value: Any) -> None:
    """Refuse a decoded JSON value that is nested more than 64 deep (without recursion)."""
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise _too_deep()


def decisions_mark(example: Example, rule: str) -> Example:
    """Return the example with `train` set on every assistant turn and on no other.

    Turns marked true replace the rule. Without one, `rule` picks the last assistant turn or all of
    them, and turns marked false are taken from its choice. User, system and tool turns never get
    gradient. Raises ExampleError where no turn is left to learn from.
    """
    assistant = [i for i, turn in enumerate(example.turns) if turn.role == "assistant"]
    chosen = {i for i in assistant if example.turns[i].train}
    if not chosen:
        candidates = assistant if rule == "all" else assistant[-1:]
        chosen = {i for i in candidates if example.turns[i].train is None}
    if not chosen:
        raise ExampleError(
            "no decision tokens: no assistant turn to learn from",
            "Add an assistant turn, or mark one with train: true.",
        )
    for i in sorted(chosen):
        if not example.turns[i].content.strip() and not example.turns[i].tool_calls:
            raise ExampleError(
                f"turn {i + 1} is to be learnt but is empty",
                "Give the assistant turn content or tool_calls, or mark it train: false.",
            )
    turns = tuple(
        replace(turn, train=i in chosen if turn.role == "assistant" else None)
        for i, turn in enumerate(example.turns)
    )
    return replace(example, turns=turns)
