"""The formats in which people bring training examples, read into `corpus.examples.Example`.

Each record is recognised by its fields, whatever file it came in. Every field is used, known as
metadata, empty, refused or named as not used: see `corpus.fields`. No torch here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.examples import Example, Turn
from corpus.fields import RECORD_METADATA, Account, Fields, is_empty
from corpus.formats import pairs, preference
from corpus.formats.chat import turn_items, turns_parse
from corpus.formats.mapping import ColumnMapping
from corpus.formats.marks import LeftOutError, marks_beside_take
from corpus.formats.outcomes import outcome_take
from corpus.formats.tools import calls_join, tools_parse
from corpus.jsontext import ExampleError, text_check

__all__ = ["FORMATS", "ColumnMapping", "LeftOutError", "Parsed", "Reading", "UnknownFormatError"]

TURNS_MAX = 1000
"""Finding the decisions takes time in the square of the turns: seconds here, hours for 50,000."""

FORMATS = {
    "messages": "chat messages",
    "conversations": "ShareGPT conversations",
    "traj": "agent trajectories",
    "session": "session logs",
    "prompt_completion": "prompt and completion",
    "prompt_response": "prompt and response",
    "alpaca": "instruction and output (Alpaca)",
    "text": "plain text",
    "dpo": "preference pairs (DPO)",
    "kto": "labelled answers (KTO)",
    "mapped": "columns mapped by hand",
    "canonical": "examples of this portal",
}
"""Formats by name, in words."""

_LISTS = {
    "messages": "messages",
    "conversations": "conversations",
    "conversation": "conversations",
    "traj": "traj",
    "history": "traj",
}
"""Fields that hold a list of turns, and the formats that have them, the first one to be taken."""


class UnknownFormatError(ExampleError):
    """A record is of no known format; a person can say which field is what."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the uploader chose for the whole file."""

    preference: str = ""
    """chosen: learn the chosen answers of preference data; empty: ask."""
    columns: ColumnMapping | None = None
    """For records of no known format."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is given; a record's own chat_template_kwargs go before."""


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """One record as it was read."""

    example: Example
    account: Account
    """What became of its fields."""


def record_parse(record: Any, reading: Reading | None = None) -> Parsed:
    """Turn one decoded JSON record of any known format into an Example.

    Raises ExampleError where it cannot be used, LeftOutError where the record itself says that it
    is not to be learnt, UnknownFormatError and PreferenceError where a person has to say more.
    """
    if not isinstance(record, dict):
        raise ExampleError(
            "not a JSON object",
            'Write one object for each example, such as {"messages": [...]}.',
        )
    account = Account()
    example = _Reader(record, reading or Reading(), account).example()
    return Parsed(example=example, account=account)


def example_parse(record: Any) -> Example:
    """The example in a record, without the account of its fields."""
    return record_parse(record).example


class _Reader:
    def __init__(self, record: Mapping[str, Any], reading: Reading, account: Account) -> None:
        self.record = {name: value for name, value in record.items() if not is_empty(value)}
        self.fields = Fields(record, "", account)
        self.reading = reading
        self.account = account
        self.outcome: dict[str, float] = {}

    def example(self) -> Example:
        """Read the record; see `record_parse`."""
        name, turns = self._turns()
        fields = self.fields
        turns = pairs.system_prepend(turns, fields.take("system", "system_prompt"))
        tools = (*tools_parse(fields.take("tools"), "tools"),)
        tools += tools_parse(fields.take("functions"), "functions")
        arguments = fields.take("chat_template_kwargs") or {}
        if not isinstance(arguments, Mapping):
            raise ExampleError("chat_template_kwargs is not an object", "Write {name: value}.")
        self.outcome |= outcome_take(fields) | self._outcome_of_info()
        fields.close(RECORD_METADATA)
        if len(turns) > TURNS_MAX:
            raise ExampleError(
                f"{len(turns):,} turns, more than the limit of {TURNS_MAX:,}",
                "Split the conversation.",
            )
        turns = calls_join(turns, tools, self.account)
        for number, turn in enumerate(turns, start=1):
            called = [part for call in turn.tool_calls for part in (call.name, call.arguments)]
            text_check(f"turn {number}", [turn.content, turn.name, turn.reasoning, *called])
        text_check("the list of tools", tools)
        text_check("chat_template_kwargs", [arguments])
        return Example(
            turns=tuple(turns),
            format=name,
            tools=tools,
            template_arguments={**self.reading.template_arguments, **arguments},
            outcome=self.outcome,
        )

    def _turns(self) -> tuple[str, list[Turn]]:
        """Recognise the record; return its format and its turns."""
        record, fields = self.record, self.fields
        kind = preference.kind_of(record)
        if kind:
            preference.chosen_check(kind, self.reading.preference)
        if kind == "dpo":
            return "dpo", preference.dpo_parse(fields, self.account)
        if kind == "kto":
            preference.kto_take(fields)
        for name, format_name in _LISTS.items():
            if name in record and not (name == "history" and "instruction" in record):
                return kind or format_name, self._list(name)
        if "prompt" in record and "completion" in record:
            turns = pairs.prompt_parse(fields, "completion", self.account)
            return kind or "prompt_completion", turns
        if "prompt" in record and "response" in record:
            turns = pairs.prompt_parse(fields, "response", self.account)
            return kind or "prompt_response", turns
        if "instruction" in record and "output" in record:
            return "alpaca", pairs.alpaca_parse(fields)
        if "text" in record and isinstance(record["text"], str):
            return "text", pairs.text_parse(fields, self.account)
        columns = self.reading.columns
        if columns is not None and columns.fits(fields.names):
            turns, outcome = columns.parse(fields)
            self.outcome |= outcome
            return "mapped", turns
        for name in _LISTS:
            if fields.peek(name) is not None:
                return _LISTS[name], self._list(name)  # it is empty, which its error says
        pairs.answer_check(fields)
        names = ", ".join(sorted(str(key) for key in self.record)[:8]) or "none"
        raise UnknownFormatError(
            f"no conversation found (its fields: {names})",
            "Use a field messages, conversations or traj, or prompt with completion; "
            "or say which field is what.",
        )

    def _list(self, name: str) -> list[Turn]:
        fields, value = self.fields, self.fields.take(name)
        items = turn_items(value, name)
        marks = marks_beside_take(fields, len(items))
        turns = turns_parse(items, name, self.account, marks)
        first = next((turn.content for turn in turns if turn.role == "user"), None)
        if isinstance(fields.peek("prompt"), str) and fields.peek("prompt") == first:
            fields.pass_over("prompt")  # as some data sets on the hub repeat it
        if name == "history":
            fields.pass_over("trajectory")  # SWE-agent writes the same turns a second time
        return turns

    def _outcome_of_info(self) -> dict[str, float]:
        """What an agent's `info` says of the outcome; the object itself is metadata."""
        info = self.record.get("info")
        if not isinstance(info, Mapping):
            return {}
        return outcome_take(Fields(info, "info.", Account()))
