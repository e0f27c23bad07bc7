"""The formats in which people bring training examples, read into `corpus.examples.Example`.

Known: chat `messages` (OpenAI, with tool_calls and role tool), ShareGPT `conversations`
(from/value), agent trajectories `traj`, and `prompt`/`completion`. No torch here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corpus.examples import ROLES, Example, ExampleError, ToolCall, Turn, json_decode

TURNS_MAX = 1000
"""Finding the decisions takes time in the square of the turns: seconds here, hours for 50,000."""

_MESSAGE_ROLES = {**{role: role for role in ROLES}, "developer": "system", "function": "tool"}
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "function_call",
    "observation": "tool",
    "tool": "tool",
}


def example_parse(record: Any) -> Example:
    """Turn one decoded JSON record of any known format into an Example; ExampleError otherwise."""
    if not isinstance(record, dict):
        raise ExampleError(
            "not a JSON object",
            'Write one object for each example, such as {"messages": [...]}.',
        )
    if "messages" in record:
        turns, name = _messages_parse(record["messages"]), "messages"
    elif "conversations" in record:
        turns, name = _sharegpt_parse(record), "conversations"
    elif "traj" in record:
        turns, name = _messages_parse(record["traj"]), "traj"
    elif "prompt" in record and "completion" in record:
        turns, name = _prompt_parse(record), "prompt_completion"
    else:
        names = ", ".join(sorted(str(key) for key in record)[:8]) or "none"
        raise ExampleError(
            f"no messages found (its fields: {names})",
            "Use a field messages, conversations or traj, or prompt with completion.",
        )
    if len(turns) > TURNS_MAX:
        raise ExampleError(
            f"{len(turns):,} turns, more than the limit of {TURNS_MAX:,}",
            "Split the conversation.",
        )
    tools = _tools_parse(record.get("tools"))
    for number, turn in enumerate(turns, start=1):
        called = [part for call in turn.tool_calls for part in (call.name, call.arguments)]
        text_check(f"turn {number}", [turn.content, turn.name, *called])
    text_check("the list of tools", tools)
    return Example(turns=tuple(turns), format=name, tools=tools)


def _messages_parse(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise ExampleError("messages is empty or not a list", "Add at least two messages.")
    return [_message_parse(message, i) for i, message in enumerate(messages, start=1)]


def _message_parse(message: Any, number: int) -> Turn:
    if not isinstance(message, dict):
        raise ExampleError(f"turn {number} is not a JSON object", "Give it a role and content.")
    role = _role(message.get("role"), _MESSAGE_ROLES, number)
    calls = message.get("tool_calls") or []
    if message.get("function_call"):  # OpenAI's form before tool_calls
        calls = [message["function_call"]]
    if not isinstance(calls, list):
        raise ExampleError(f"turn {number}: tool_calls is not a list", "Write a list of calls.")
    if calls and role != "assistant":
        raise ExampleError(
            f"turn {number}: a {role} turn has tool_calls", "Only the assistant calls tools."
        )
    name = message.get("name")
    return Turn(
        role=role,
        content=_content(message.get("content"), number, optional=bool(calls)),
        train=_train(message, role, number),
        tool_calls=tuple(_tool_call(call, number) for call in calls),
        name=name if role == "tool" and isinstance(name, str) else None,
    )


def _sharegpt_parse(record: Mapping[str, Any]) -> list[Turn]:
    conversations = record["conversations"]
    if not isinstance(conversations, list) or not conversations:
        raise ExampleError("conversations is empty or not a list", "Add at least two turns.")
    turns = []
    if isinstance(record.get("system"), str) and record["system"]:
        turns.append(Turn(role="system", content=record["system"]))
    for number, item in enumerate(conversations, start=1):
        if not isinstance(item, dict):
            raise ExampleError(f"turn {number} is not a JSON object", "Give it from and value.")
        role = _role(item.get("from"), _SHAREGPT_ROLES, number)
        text = _content(item.get("value"), number)
        calls: tuple[ToolCall, ...] = ()
        if role == "function_call":
            role, calls, text = "assistant", _sharegpt_calls(text, number), ""
        train = _train(item, role, number)
        turns.append(Turn(role=role, content=text, train=train, tool_calls=calls))
    return turns


def _sharegpt_calls(text: str, number: int) -> tuple[ToolCall, ...]:
    value = _json_or_text(text)
    return tuple(
        _tool_call(call, number) for call in (value if isinstance(value, list) else [value])
    )


def _prompt_parse(record: Mapping[str, Any]) -> list[Turn]:
    """Both may be text, or lists of messages (the form of the TRL library)."""
    turns = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        value = record[key]
        if isinstance(value, list):
            turns.extend(_messages_parse(value))
        else:
            turns.append(Turn(role=role, content=_content(value, len(turns) + 1)))
    return turns


def _role(value: Any, known: Mapping[str, str], number: int) -> str:
    role = known.get(value) if isinstance(value, str) else None
    if role is None:
        shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
        raise ExampleError(f"turn {number}: unknown role {shown}", f"Use {', '.join(known)}.")
    return role


def _content(value: Any, number: int, *, optional: bool = False) -> str:
    """Return a turn's text; a list of OpenAI text parts is joined."""
    if value is None and optional:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            return "".join(texts)
    if not isinstance(value, str):
        raise ExampleError(f"turn {number} has no text content", "Only text can be trained on.")
    return value


def _train(message: Mapping[str, Any], role: str, number: int) -> bool | None:
    """Return the mark of a turn: `train`, or OpenAI's `weight` 0 or 1."""
    mark = message.get("train")
    if mark is None and message.get("weight") in (0, 1):
        mark = bool(message["weight"])
    if mark is not None and not isinstance(mark, bool):
        raise ExampleError(
            f"turn {number}: train is neither true nor false", "Write true or false."
        )
    if mark and role != "assistant":
        raise ExampleError(
            f"turn {number}: a {role} turn is marked train: true",
            "Only assistant turns can be learnt; remove the mark.",
        )
    return mark


def _tool_call(call: Any, number: int) -> ToolCall:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ExampleError(
            f"turn {number}: a tool call has no function name",
            'Write {"name": ..., "arguments": {...}}.',
        )
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json_or_text(arguments)
    return ToolCall(name=function["name"], arguments=arguments)


def _json_or_text(text: str) -> Any:
    try:
        return json_decode(text)
    except ExampleError:
        return text


def _tools_parse(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the offered tools; ShareGPT writes them as a JSON text."""
    if isinstance(value, str):
        value = json_decode(value) if value.strip() else None
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise ExampleError("tools is not a list of objects", "Write a list of tool definitions.")
    return tuple(value)


def text_check(where: str, values: Iterable[Any]) -> None:
    """Refuse text that no tokenizer, file or database can hold, however deep in JSON it stands."""
    for text in _texts(values):
        if "\0" in text:
            raise ExampleError(f"{where} contains a NUL character", "Remove it.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ExampleError(
                f"{where} contains half of a surrogate pair", "Write whole characters."
            ) from None


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Every string in decoded JSON, keys included."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.keys())
            yield from _texts(value.values())
        elif isinstance(value, list):
            yield from _texts(value)
