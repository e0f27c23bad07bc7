"""Items of a benchmark of one's own: what a line of an uploaded file may be. No torch here.

Either every item offers choices, and the model's answer is the choice to which it gives the highest
likelihood as a continuation of the question; or every item has one answer in words, and the model
has to write exactly that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.jsontext import ExampleError, json_decode
from engine.errors import ProblemError

CHOICES, WORDS = "choices", "words"
ITEMS_MAX = 20_000
QUESTION_MAX_CHARACTERS = 20_000
ANSWER_MAX_CHARACTERS = 2_000
CHOICES_MAX = 26
PROBLEMS_KEPT = 50
_FIELDS = ("question", "choices", "answer", "cluster")


@dataclass(frozen=True, kw_only=True)
class OwnItem:
    """One item."""

    question: str
    choices: tuple[str, ...] | None
    """None where the answer is to be written."""
    answer: int | str
    """The place of the right choice, from 0; or the answer itself."""
    cluster: str | None = None
    """What items of one source share; None where an item stands alone."""

    def to_json(self) -> dict[str, Any]:
        """The item as the canonical file holds it."""
        record: dict[str, Any] = {"question": self.question, "answer": self.answer}
        if self.choices is not None:
            record["choices"] = list(self.choices)
        return record | {"cluster": self.cluster or ""}


@dataclass(frozen=True, kw_only=True)
class ItemProblem:
    """Why a line cannot be used, and what to do."""

    line: int
    message: str
    cure: str


class _Refused(ProblemError):  # noqa: N818  (never leaves this module)
    pass


def items_read(text: str) -> tuple[list[OwnItem], list[ItemProblem]]:
    """The items of a JSONL text, and every problem by line (at most PROBLEMS_KEPT are told)."""
    items: list[OwnItem] = []
    problems: list[ItemProblem] = []
    first_lines: dict[tuple[Any, ...], int] = {}
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            item = _item(json_decode(content))
            _check_alike(item, items)
            _check_new(item, line, first_lines)
            items.append(item)
        except (ExampleError, _Refused) as error:
            problems.append(ItemProblem(line=line, message=error.message, cure=error.cure))
            if len(problems) == PROBLEMS_KEPT:
                break
        if len(items) > ITEMS_MAX:
            message = f"more than {ITEMS_MAX:,} items"
            problems.append(ItemProblem(line=line, message=message, cure="Take a sample."))
            break
    if not items and not problems:
        message, cure = "there is no item in it", "Write one JSON object a line."
        problems.append(ItemProblem(line=0, message=message, cure=cure))
    return items, problems


def items_write(items: Iterable[OwnItem]) -> str:
    """The canonical file: one item a line, in order."""
    lines = (json.dumps(one.to_json(), ensure_ascii=False, sort_keys=True) for one in items)
    return "".join(f"{line}\n" for line in lines)


def content_hash(text: str) -> str:
    """SHA-256 of a canonical file; it changes with any item."""
    return hashlib.sha256(text.encode()).hexdigest()


def kind_of(items: Sequence[OwnItem]) -> str:
    """CHOICES or WORDS."""
    return WORDS if items[0].choices is None else CHOICES


def _item(record: Any) -> OwnItem:
    if not isinstance(record, dict):
        raise _Refused("it is not a JSON object", 'Write {"question": ..., "answer": ...}.')
    unknown = sorted(record.keys() - set(_FIELDS))
    if unknown:
        raise _Refused(f"there is no field {unknown[0]!r}", f"Use only {', '.join(_FIELDS)}.")
    question = _text(record, "question", QUESTION_MAX_CHARACTERS)
    cluster = _text(record, "cluster", 120) if record.get("cluster") else None
    if "choices" not in record:
        if not isinstance(record.get("answer"), str):
            cure = 'Write the answer as a text, for example "answer": "42"; or add "choices".'
            raise _Refused(_missing(record), cure)
        answer = _text(record, "answer", ANSWER_MAX_CHARACTERS).strip()
        if "\n" in answer:
            cure = "Write it in one line: the model's answer ends with its first line."
            raise _Refused("the answer has several lines", cure)
        return OwnItem(question=question, choices=None, answer=answer, cluster=cluster)
    choices = _choices(record["choices"])
    return OwnItem(
        question=question, choices=choices, answer=_place(record, choices), cluster=cluster
    )


def _missing(record: dict[str, Any]) -> str:
    return "the answer is not text" if "answer" in record else "it has no answer"


def _choices(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= CHOICES_MAX:
        raise _Refused("choices is not a list of 2 to 26 texts", 'Write "choices": ["...", "..."].')
    record = {f"choice {number}": one for number, one in enumerate(value, start=1)}
    choices = tuple(_text(record, name, ANSWER_MAX_CHARACTERS).strip() for name in record)
    if len(set(choices)) < len(choices):
        raise _Refused("two of its choices are the same", "Make every choice different.")
    return choices


def _place(record: dict[str, Any], choices: tuple[str, ...]) -> int:
    cure = "Write the right choice word for word, or its place counted from 0."
    answer = record.get("answer")
    if isinstance(answer, str) and answer.strip() in choices:
        return choices.index(answer.strip())
    if isinstance(answer, int) and not isinstance(answer, bool):
        if 0 <= answer < len(choices):
            return answer
        raise _Refused(f"answer {answer} is none of its {len(choices)} choices", cure)
    if answer is None or answer == "":
        raise _Refused("it has no answer", cure)
    raise _Refused("the answer is none of its choices", cure)


def _text(record: dict[str, Any], name: str, most: int) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Refused(f"{name} is not text, or is empty", f"Give {name} as a text.")
    if len(value) > most:
        message = f"{name} has {len(value):,} characters, more than {most:,}"
        raise _Refused(message, "Shorten it.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Refused(f"{name} has half a surrogate pair", "Mend the character.") from None
    if "\0" in value:
        raise _Refused(f"{name} has a NUL character", "Take it out.")
    return value


def _check_alike(item: OwnItem, items: Sequence[OwnItem]) -> None:
    if items and (items[0].choices is None) != (item.choices is None):
        words = "has choices" if item.choices is not None else "has no choices"
        others = "have none" if item.choices is not None else "have some"
        raise _Refused(
            f"it {words}, and the items before it {others}",
            "Upload two benchmarks: one to choose in, one to answer in words.",
        )


def _check_new(item: OwnItem, line: int, first_lines: dict[tuple[Any, ...], int]) -> None:
    key = (item.question, item.choices)
    if key in first_lines:
        raise _Refused(f"the same item stands on line {first_lines[key]}", "Leave one of them out.")
    first_lines[key] = line
