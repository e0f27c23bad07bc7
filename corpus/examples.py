"""A training example in the one form the portal keeps, and which of its turns are learnt.

An Example is a tuple of Turns whose roles are system, user, assistant or tool. No torch here: the
portal reads with this module.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from corpus.jsontext import ExampleError

ROLES = ("system", "user", "assistant", "tool")
TEXT = "text"
"""The role of the only turn of an example that is plain text: no template, all of it is learnt."""
DECISION_RULES = ("last", "all")


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool by the assistant."""

    name: str
    arguments: Any
    """The decoded JSON arguments; the text itself where it is not JSON."""
    call_id: str | None = None
    """What the result names; chat templates that know ids get it."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """One of ROLES, or TEXT."""
    content: str
    train: bool | None = None
    """Whether this turn is a decision: marked so, marked not so, or left to the decision rule."""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    """The tool whose output this turn is, where the source names it."""
    call_id: str | None = None
    """The call whose output this turn is, where the source names it."""
    reasoning: str | None = None
    """What the assistant thought before it, where the source keeps that apart from the text."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation to learn from."""

    turns: tuple[Turn, ...]
    format: str
    """Where it came from: a key of `corpus.formats.FORMATS`."""
    tools: tuple[Mapping[str, Any], ...] = field(default=())
    """The tools the assistant was offered, in the source's own JSON."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is given beside the turns (`chat_template_kwargs`)."""
    outcome: Mapping[str, float] = field(default_factory=dict)
    """How it went, as the source says: reward, success and the like; true is 1."""
    reads_reasoning: bool = False
    """Whether the assistant's reasoning is only read: then a decision begins after it."""
    learns_empty_reasoning: bool = False
    """Whether an answer without reasoning is learnt with the empty reasoning that a chat template
    writes before it: then the model learns to close its thinking at once."""
    day: str | None = None
    """The day, as 2026-11-29, that a chat template is told; None: today."""

    def sha256(self) -> str:
        """Hash what was said: marks, ids of calls, outcome and format do not count.

        So an example that is marked or judged again stays on its side of the held-out slice.
        """
        return hashlib.sha256(self.hashed_text().encode()).hexdigest()

    def hashed_text(self) -> str:
        """The text whose SHA-256 names the example."""
        record = self.to_json()
        for name in ("outcome", "reads_reasoning", "learns_empty_reasoning", "day"):
            record.pop(name, None)
        for turn in record["turns"]:
            turn.pop("train", None)
            turn.pop("call_id", None)
            for call in turn.get("tool_calls", ()):
                call.pop("call_id", None)
        return _HASHED.encode(record)

    def to_json(self) -> dict[str, Any]:
        """Return {"turns": [...], "tools"?: [...], ...} as examples.jsonl holds it."""
        record: dict[str, Any] = {"turns": [_turn_to_json(turn) for turn in self.turns]}
        if self.tools:
            record["tools"] = [dict(tool) for tool in self.tools]
        if self.template_arguments:
            record["template_arguments"] = dict(self.template_arguments)
        if self.outcome:
            record["outcome"] = dict(self.outcome)
        if self.reads_reasoning:
            record["reads_reasoning"] = True
        if self.learns_empty_reasoning:
            record["learns_empty_reasoning"] = True
        if self.day is not None:
            record["day"] = self.day
        return record


_HASHED = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _turn_to_json(turn: Turn) -> dict[str, Any]:
    record: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.train is not None:
        record["train"] = turn.train
    if turn.tool_calls:
        record["tool_calls"] = [_call_to_json(call) for call in turn.tool_calls]
    for name in ("name", "call_id", "reasoning"):
        if (value := getattr(turn, name)) is not None:
            record[name] = value
    return record


def _call_to_json(call: ToolCall) -> dict[str, Any]:
    record: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    if call.call_id is not None:
        record["call_id"] = call.call_id
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
            call_id=turn.get("call_id"),
            reasoning=turn.get("reasoning"),
        )
        for turn in record["turns"]
    )
    return Example(
        turns=turns,
        format="canonical",
        tools=tuple(record.get("tools", ())),
        template_arguments=record.get("template_arguments", {}),
        outcome=record.get("outcome", {}),
        reads_reasoning=record.get("reads_reasoning", False),
        learns_empty_reasoning=record.get("learns_empty_reasoning", False),
        day=record.get("day"),
    )


def decisions_mark(example: Example, rule: str) -> Example:
    """Return the example with `train` set on every assistant turn and on no other.

    Turns marked true replace the rule. Without one, `rule` picks the last assistant turn or all of
    them, and turns marked false are taken from its choice. User, system and tool turns never get
    gradient. Raises ExampleError where no turn is left to learn from.
    """
    if example.turns[0].role == TEXT:
        return replace(example, turns=(replace(example.turns[0], train=True),))
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
    if 0 in chosen:
        raise ExampleError(
            "turn 1 is to be learnt, but nothing stands before it",
            "Begin with a user turn, or mark it train: false.",
        )
    for i in sorted(chosen):
        _learnable_check(example.turns[i], i + 1)
    turns = tuple(
        replace(turn, train=i in chosen if turn.role == "assistant" else None)
        for i, turn in enumerate(example.turns)
    )
    return replace(example, turns=turns)


def _learnable_check(turn: Turn, number: int) -> None:
    if not turn.content.strip() and not turn.tool_calls:
        raise ExampleError(
            f"turn {number} is to be learnt but is empty",
            "Give the assistant turn content or tool_calls, or mark it train: false.",
        )
    for call in turn.tool_calls:
        if not isinstance(call.arguments, Mapping):
            raise ExampleError(
                f"turn {number}: the arguments of {call.name} are not a JSON object",
                "Write them as an object, or mark the turn train: false.",
            )
