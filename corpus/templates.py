"""Chat templates: a model's own Jinja template, rendered as transformers renders it.

The environment is sandboxed, for a template is code that came with a model. Templates that know
nothing of tools get tool turns as text: see `messages_prepare`. No torch or transformers here.
"""

import json
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corpus import reasoning
from corpus.examples import Example, ToolCall, Turn
from corpus.jsontext import ExampleError
from corpus.template_arguments import GIVEN
from engine.checks import ConfigError

DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
"""Used, and saved with the output, for a model that brings no template of its own."""

_ERROR_CHARACTERS = 300
_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


RENDER_SECONDS = 10
"""One conversation takes milliseconds; a template that is not through by then never will be."""
_REFUSALS = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError, SyntaxError),
)
"""What a template that cannot do with something raises, while it is compiled or rendered."""


class TemplateStuckError(ConfigError):
    """A chat template does not come to its end: nothing can be made of any conversation."""

    def __init__(self, message: str) -> None:
        cure = "Register the model with another chat template; this one loops."
        super().__init__("chat template", message, cure)


class _GenerationTag(Extension):
    """Accepts the `{% generation %}` blocks of some templates; they render as their content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One compiled template with the special tokens it may name."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Compile `source`; ValueError where it is not a Jinja template, else as `render`."""
        self.source = source
        self.special_tokens = dict(special_tokens)
        self.knows_tool_calls = "tool_calls" in source
        self.knows_tools = "tools" in source
        self.reasoning_names = [name for name in reasoning.NAMES if name in source]
        """Fields of a message in which it looks for reasoning; empty: it has no place for it."""
        self.tells_the_day = "strftime_now" in source
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        try:
            with _limited(RENDER_SECONDS):  # constant sums are done here
                self._template = environment.from_string(source)
                self.variables = meta.find_undeclared_variables(environment.parse(source))
                """What it can be given: messages, tools, and arguments of its own."""
        except _REFUSALS as error:
            raise ValueError(f"the chat template cannot be read: {_shown(error)}") from error

    @property
    def argument_names(self) -> list[str]:
        """What can be given to it beside a conversation, such as enable_thinking."""
        return sorted(self.variables - GIVEN - self.special_tokens.keys() - set(_TOKEN_NAMES))

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        arguments: Mapping[str, Any] | None = None,
        day: str | None = None,
    ) -> str:
        """Return the text of a conversation; ExampleError where the template refuses it.

        arguments: those of the template's own (`chat_template_kwargs`); one that it does not know
        is refused. day: what it takes for today. In a process's main thread a template that loops
        raises TemplateStuckError after RENDER_SECONDS.
        """
        unknown = sorted(set(arguments or ()) - self.variables)
        if unknown:
            raise ExampleError(
                f"chat_template_kwargs.{unknown[0]}: the model's chat template knows no such thing",
                "Leave it out, or choose a model whose template does.",
            )
        now = datetime.fromisoformat(day) if day else datetime.now()
        try:
            with _limited(RENDER_SECONDS):
                return self._template.render(
                    **(arguments or {}),
                    strftime_now=now.strftime,
                    messages=list(messages),
                    tools=list(tools) if tools else None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                    **self.special_tokens,
                )
        except _REFUSALS as error:
            raise ExampleError(
                f"the model's chat template refuses this conversation: {_shown(error)}",
                "Change the roles or their order to what the template allows.",
            ) from error


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TemplateStuckError in what is done here after so long, wherever it is.

    Only where this is the main thread, which alone hears signals, and nobody else set an alarm.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return

    def stuck(number: int, frame: FrameType | None) -> None:
        raise TemplateStuckError(f"one conversation was not written down within {seconds:g} s")

    signal.signal(signal.SIGALRM, stuck)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _shown(error: BaseException) -> str:
    return str(error)[:_ERROR_CHARACTERS] or type(error).__name__


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML, which would teach the model HTML entities.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def special_tokens_read(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the named special tokens of a tokenizer_config.json."""
    tokens = {}
    for name in _TOKEN_NAMES:
        value = settings.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            tokens[name] = value
    return tokens


def template_source_read(directory: Path, settings: Mapping[str, Any]) -> str | None:
    """Return the template of a model directory, or None: the .jinja file goes before the config."""
    file = directory / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError("the chat template cannot be read: it is not UTF-8") from None
    source = settings.get("chat_template")
    if isinstance(source, list):  # several named ones; the default is for plain conversations
        named = [item for item in source if isinstance(item, dict)]
        source = next((one.get("template") for one in named if one.get("name") == "default"), None)
    return source if isinstance(source, str) else None


def messages_prepare(
    example: Example, template: ChatTemplate
) -> tuple[list[dict[str, Any]], list[bool], list[Mapping[str, Any]] | None]:
    """Return (messages, whether each is a decision, tools) as the template wants them.

    A template that never mentions tool_calls would drop them silently, so for such a one calls
    become <tool_call> text in the assistant's content, outputs become user turns of
    <tool_response> text (consecutive ones joined, as Hermes and Qwen do), and offered tools are
    listed at the end of the system turn.
    """
    messages: list[dict[str, Any]] = []
    decisions: list[bool] = []
    previous_was_output = False
    for turn in example.turns:
        output_as_text = turn.role == "tool" and not template.knows_tool_calls
        message = _message(turn, template)
        if output_as_text and previous_was_output:
            messages[-1]["content"] += "\n" + message["content"]
        else:
            messages.append(message)
            decisions.append(bool(turn.train) and turn.role == "assistant")
        previous_was_output = output_as_text
    if example.tools and not template.knows_tools:
        _tools_describe(messages, decisions, example.tools)
    return messages, decisions, list(example.tools) if template.knows_tools else None


def _message(turn: Turn, template: ChatTemplate) -> dict[str, Any]:
    knows_tool_calls = template.knows_tool_calls
    if turn.role == "tool" and not knows_tool_calls:
        content = f"<tool_response>\n{turn.content}\n</tool_response>"
        return {"role": "user", "content": content}
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.name is not None:
        message["name"] = turn.name
    if turn.call_id is not None:
        message["tool_call_id"] = turn.call_id
    if turn.reasoning is not None:
        message |= dict.fromkeys(template.reasoning_names or ("reasoning",), turn.reasoning)
    if not turn.tool_calls:
        return message
    if knows_tool_calls:
        message["tool_calls"] = [_call_message(call) for call in turn.tool_calls]
        return message
    calls = "\n".join(_call_text(call) for call in turn.tool_calls)
    message["content"] = f"{turn.content}\n{calls}" if turn.content else calls
    return message


def _call_message(call: ToolCall) -> dict[str, Any]:
    named = {"id": call.call_id} if call.call_id is not None else {}
    function = {"name": call.name, "arguments": call.arguments}
    return {**named, "type": "function", "function": function}


def _call_text(call: ToolCall) -> str:
    body = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def _tools_describe(
    messages: list[dict[str, Any]], decisions: list[bool], tools: Sequence[Mapping[str, Any]]
) -> None:
    listed = "\n".join(json.dumps(dict(tool), ensure_ascii=False) for tool in tools)
    text = f"You may call these tools:\n<tools>\n{listed}\n</tools>"
    if messages[0]["role"] == "system":
        messages[0] = {**messages[0], "content": messages[0]["content"] + "\n\n" + text}
    else:
        messages.insert(0, {"role": "system", "content": text})
        decisions.insert(0, False)
