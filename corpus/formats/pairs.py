"""A prompt and its answer: TRL, Alpaca, prompt and response, and plain text without either."""

from collections.abc import Sequence
from typing import Any

from corpus.examples import TEXT, Turn
from corpus.fields import Account, Fields, is_empty
from corpus.formats.chat import turns_parse
from corpus.jsontext import ExampleError


def prompt_parse(fields: Fields, answer: str, account: Account) -> list[Turn]:
    """Read `prompt` and the field `answer`; both may be text, or lists of turns as TRL has them."""
    turns: list[Turn] = []
    for name, role in (("prompt", "user"), (answer, "assistant")):
        value = fields.take(name)
        if isinstance(value, list):
            turns += turns_parse(value, name, account)
        else:
            turns.append(Turn(role=role, content=_text(value, name)))
    return turns


def alpaca_parse(fields: Fields) -> list[Turn]:
    """Read `instruction`, `input`, `output` and the `history` of earlier pairs."""
    turns: list[Turn] = []
    for number, pair in enumerate(fields.take("history") or [], start=1):
        if not isinstance(pair, list) or [type(one) for one in pair] != [str, str]:
            raise ExampleError(
                f"history, pair {number}: not two texts", "Write [question, answer] for each pair."
            )
        turns += [Turn(role="user", content=pair[0]), Turn(role="assistant", content=pair[1])]
    question = _text(fields.take("instruction"), "instruction")
    more = fields.take("input")
    if more:
        question = f"{question}\n\n{_text(more, 'input')}" if question else _text(more, "input")
    answer = _text(fields.take("output"), "output")
    return [*turns, Turn(role="user", content=question), Turn(role="assistant", content=answer)]


def answer_check(fields: Fields) -> None:
    """Raise ExampleError where a record is a pair whose answer is empty, or a text that is none."""
    for asked, answer in (
        ("prompt", "completion"),
        ("prompt", "response"),
        ("instruction", "output"),
    ):
        if fields.peek(asked) and answer in fields.names:
            raise ExampleError(f"{answer} is empty", "Write the answer, or leave the example out.")
    if fields.names == {"text"}:
        word = "empty" if is_empty(fields.peek("text")) else "not text"
        raise ExampleError(f"text is {word}", "Write it as text in quotes, or leave it out.")


def text_parse(fields: Fields, account: Account) -> list[Turn]:
    """Read plain `text`: there are no turns in it, and all of it is learnt."""
    text = _text(fields.take("text"), "text")
    if not text.strip():
        raise ExampleError("text is empty", "Leave the example out.")
    account.note("whole_text", "text")
    return [Turn(role=TEXT, content=text)]


def system_prepend(turns: Sequence[Turn], system: Any) -> list[Turn]:
    """Put the text of a field `system` before the turns; ExampleError where they have another."""
    if not system:
        return list(turns)
    if isinstance(system, list):  # Anthropic's blocks of text
        system = "\n\n".join(
            _text(part.get("text") if isinstance(part, dict) else part, "system") for part in system
        )
    text = _text(system, "system")
    if turns[0].role == "system":
        if turns[0].content.strip() == text.strip():
            return list(turns)
        raise ExampleError(
            "there are two system prompts: the field system and the first turn",
            "Keep one of the two.",
        )
    return [Turn(role="system", content=text), *turns]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ExampleError(f"{name} is not text", "Write it as text in quotes.")
    return value
