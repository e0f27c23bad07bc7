"""Lists of turns, as OpenAI, ShareGPT, Anthropic and Gemini write them, read into Turns.

One reader for all, since files mix them: a turn has a role or a from, a content, a value or parts,
and any of these may hold blocks of text, of reasoning, of tool calls and of tool results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from corpus.examples import ROLES, ToolCall, Turn
from corpus.fields import TURN_METADATA, Account, Fields, is_empty
from corpus.formats.marks import mark_take
from corpus.formats.tools import arguments_decode, call_parse, calls_of_text
from corpus.jsontext import ExampleError, shown, text_decode

CALLS, REASONING = "calls", "reasoning"
"""Roles of turns that are a part of the assistant's next turn."""
_ROLES = {
    **{role: role for role in ROLES},
    **dict.fromkeys(("developer",), "system"),
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "ai", "model"), "assistant"),
    **dict.fromkeys(
        ("function", "observation", "tool_response", "tool_result", "function_response"), "tool"
    ),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), CALLS),
    **dict.fromkeys(("reasoning", "thought", "thinking"), REASONING),
}
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_NOT_TEXT_CURE = "Leave such examples out: only text can be trained on."


def turns_parse(
    value: Any, name: str, account: Account, marks: Sequence[bool | None] | None = None
) -> list[Turn]:
    """Read the list of turns in the field `name`; ExampleError says which turn is wrong.

    marks: those that a list beside the turns gives them.
    """
    items = turn_items(value, name)
    marks = marks or [None] * len(items)
    turns: list[Turn] = []
    waiting: list[str] = []
    for number, (item, mark) in enumerate(zip(items, marks, strict=True), start=1):
        reader = _TurnReader(item, f"{name}[].", number, account)
        read = reader.turns(mark)
        if reader.role == REASONING:
            waiting += [turn.content for turn in read]
            continue
        if waiting and (read[0].role != "assistant" or read[0].reasoning):
            raise ExampleError(
                f"turn {number}: reasoning stands before it, and it is not the assistant's",
                "Let the assistant's turn follow its reasoning.",
            )
        if waiting:
            read[0] = replace(read[0], reasoning="\n\n".join(waiting))
            waiting = []
        turns += read
    if waiting:
        raise ExampleError(
            "the last turn is reasoning without an answer", "Let the assistant's turn follow it."
        )
    return turns


def turn_items(value: Any, name: str) -> list[Any]:
    """Return the list of turns in a field, which may be JSON text; ExampleError otherwise."""
    if isinstance(value, str) and value.strip():
        value = text_decode(value, name)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ExampleError(f"{name} is empty or not a list", "Add at least two turns.")
    return value


class _TurnReader:
    """Reads one item of the list, which may be several turns: a user's blocks hold results too."""

    def __init__(self, item: Any, path: str, number: int, account: Account) -> None:
        if not isinstance(item, Mapping):
            raise ExampleError(f"turn {number} is not a JSON object", "Give it a role and content.")
        self.number = number
        self.where = f"turn {number}"
        self.path = path
        self.account = account
        self.fields = Fields(item, path, account)
        self.role = self._role()
        self.texts: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[Turn] = []

    def turns(self, beside: bool | None) -> list[Turn]:
        """Return what the item holds; its results come before its own text."""
        fields, role = self.fields, self.role
        called = role == CALLS
        is_assistant = role in ("assistant", CALLS)
        mark = mark_take(fields, "assistant" if is_assistant else role, self.number, beside)
        if fields.peek("is_demo") is True and fields.take("is_demo"):
            mark = False  # SWE-agent: a turn of a demonstration
        self._calls_read(is_assistant)
        self._content_read(called)
        self.reasoning += [
            self._text(fields.take(name), name)
            for name in ("reasoning_content", "reasoning", "thinking")
            if name in fields
        ]
        call_id = fields.take("tool_call_id") if role == "tool" else None
        name = fields.take("name") if role == "tool" else None
        fields.close(TURN_METADATA)
        if self.reasoning and not is_assistant:
            raise ExampleError(f"{self.where}: a {role} turn has reasoning", "Take it out.")
        own = Turn(
            role="assistant" if is_assistant else role,
            content="".join(self.texts),
            train=mark,
            tool_calls=tuple(self.calls),
            name=name if isinstance(name, str) else None,
            reasoning="\n\n".join(dict.fromkeys(self.reasoning)) or None,
            call_id=call_id if isinstance(call_id, str) else None,
        )
        if self.results and not self.texts:
            return self.results
        return [*self.results, own]

    def _role(self) -> str:
        value = self.fields.take("role", "from")
        role = _ROLES.get(value) if isinstance(value, str) else None
        if role is None:
            raise ExampleError(
                f"{self.where}: unknown role {shown(value)}", f"Use {', '.join(ROLES)}."
            )
        return role

    def _calls_read(self, is_assistant: bool) -> None:
        calls = self.fields.take("tool_calls")
        old = self.fields.take("function_call")  # OpenAI's form before tool_calls
        if isinstance(calls, str):
            calls = text_decode(calls, f"{self.where}: tool_calls")
        if not isinstance(calls, list | None):
            raise ExampleError(f"{self.where}: tool_calls is not a list", "Write a list of calls.")
        every = [*(calls or []), *([] if is_empty(old) else [old])]
        if every and not is_assistant:
            raise ExampleError(
                f"{self.where}: a {self.role} turn has tool_calls",
                "Only the assistant calls tools.",
            )
        path = f"{self.path}tool_calls[]."
        self.calls += [call_parse(call, self.where, path, self.account) for call in every]

    def _content_read(self, called: bool) -> None:
        value = self.fields.take("content", "value", "parts")
        if called:
            path = f"{self.path}calls[]."
            self.calls += calls_of_text(value, self.where, path, self.account)
        elif isinstance(value, list):
            for part in value:
                self._part_read(part)
            if not (self.texts or self.calls or self.results or self.reasoning):
                raise ExampleError(f"{self.where} has no text content", _NOT_TEXT_CURE)
        elif isinstance(value, str):
            self.texts.append(value)
        elif not (value is None and (self.calls or self._has_reasoning())):
            raise ExampleError(f"{self.where} has no text content", _NOT_TEXT_CURE)

    def _has_reasoning(self) -> bool:
        return any(name in self.fields for name in ("reasoning_content", "reasoning", "thinking"))

    def _part_read(self, part: Any) -> None:
        """Read one block of a content: text, reasoning, a tool's call or its result."""
        if isinstance(part, str):
            self.texts.append(part)
            return
        if not isinstance(part, Mapping):
            raise ExampleError(f"{self.where}: a part is not an object", "Write text parts.")
        fields = Fields(part, f"{self.path}content[].", self.account)
        kind = fields.take("type")
        kind = "text" if kind is None and isinstance(fields.peek("text"), str) else kind
        if kind in _TEXT_PARTS:
            self.texts.append(self._text(fields.take("text"), "a text part"))
        elif kind in ("thinking", "reasoning"):
            self.reasoning.append(self._text(fields.take("thinking", "reasoning", "text"), kind))
            fields.pass_over("signature")
        elif kind == "redacted_thinking":
            fields.pass_over("data")
            self.account.note("reasoning_unused", self.where, "it is encrypted")
        elif kind == "tool_use" and self.role == "assistant":
            self.calls.append(
                ToolCall(
                    name=self._text(fields.take("name"), "the name of a tool"),
                    arguments=arguments_decode(fields.take("input"), self.where, self.account),
                    call_id=_id(fields.take("id")),
                )
            )
        elif kind == "tool_result" and self.role in ("user", "tool"):
            content = self._result_text(fields.take("content"))
            fields.pass_over("is_error")
            call_id = _id(fields.take("tool_use_id"))
            self.results.append(Turn(role="tool", content=content, call_id=call_id))
        else:
            raise ExampleError(
                f"{self.where}: a part of the type {shown(kind)} cannot be read here",
                _NOT_TEXT_CURE,
            )
        fields.close(TURN_METADATA)

    def _result_text(self, content: Any) -> str:
        if content is None:
            return ""
        if not isinstance(content, list):
            return self._text(content, "a tool's result")
        texts = []
        for part in content:
            kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
            if kind not in _TEXT_PARTS:
                message = f"{self.where}: a tool's result has a part of the type {shown(kind)}"
                raise ExampleError(message, _NOT_TEXT_CURE)
            text = part.get("text") if isinstance(part, Mapping) else part
            texts.append(self._text(text, "a tool's result"))
        return "\n".join(texts)

    def _text(self, value: Any, what: str) -> str:
        if not isinstance(value, str):
            raise ExampleError(f"{self.where}: {what} is not text", _NOT_TEXT_CURE)
        return value


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
