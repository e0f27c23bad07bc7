"""Preference data: answers that are better and worse than each other (DPO), or good or bad (KTO).

Nothing here is learnt by preference. With `chosen` as the batch's choice the better answers are
learnt as any others and the rest is left out; without a choice the records are asked about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from corpus.examples import Turn
from corpus.fields import Account, Fields
from corpus.formats.chat import turns_parse
from corpus.formats.marks import LeftOutError
from corpus.jsontext import ExampleError

_PROMPTS = ("prompt", "messages", "conversations", "question", "instruction", "input")
_METADATA = (
    *("score_chosen", "score_rejected", "chosen_score", "rejected_score", "margin"),
    *("chosen_model", "rejected_model", "chosen_rating", "rejected_rating"),
)


class PreferenceError(ExampleError):
    """A record is preference data, and nobody has said yet what to do with it."""


def kind_of(record: Mapping[str, Any]) -> str:
    """dpo, kto or nothing: what sort of preference a record holds."""
    if record.get("rejected") is not None:
        return "dpo"
    label = record.get("label")
    answers = ("completion", "messages", "conversations", "response")
    has_answer = any(record.get(name) is not None for name in answers)
    return "kto" if has_answer and _is_truth(label) else ""


def _is_truth(label: Any) -> bool:
    return isinstance(label, bool) or (isinstance(label, int | float) and label in (0, 1))


def chosen_check(kind: str, choice: str) -> None:
    """Raise PreferenceError where nobody has chosen to learn the chosen answers."""
    if choice != "chosen":
        names = {"dpo": "chosen and rejected answers (DPO)", "kto": "good and bad answers (KTO)"}
        raise PreferenceError(
            f"preference data: {names[kind]}",
            "Choose to learn the chosen answers, or leave these examples out.",
        )


def kto_take(fields: Fields) -> None:
    """Use the label of a record whose answer is good; LeftOutError where it is bad."""
    if not fields.take("label"):
        raise LeftOutError("its answer is labelled bad")


def dpo_parse(fields: Fields, account: Account) -> list[Turn]:
    """Read what was asked and the chosen answer; only that answer is a decision."""
    chosen = _turns(fields.take("chosen"), "chosen", "assistant", account)
    if not chosen:
        raise ExampleError("there is a rejected answer but no chosen one", "Add chosen.")
    fields.take("rejected")
    account.note("rejected_unused", "rejected")
    fields.pass_over(*_METADATA)
    asked: list[Turn] = []
    for name in _PROMPTS:
        if not asked and name in fields:
            asked = _turns(fields.take(name), name, "user", account)
    if asked and list(chosen[: len(asked)]) == asked:
        chosen = chosen[len(asked) :]
    elif asked and len(chosen) > 1 and chosen[0].role in ("user", "system"):
        if chosen[0].content != asked[0].content:
            raise ExampleError(
                "the chosen conversation begins with something else than the prompt",
                "Keep one of the two.",
            )
        asked = []
    answers = [i for i, turn in enumerate(chosen) if turn.role == "assistant"]
    if not answers:
        raise ExampleError("the chosen answer is not the assistant's", "Write it as one.")
    turns = [*asked, *chosen]
    last = len(asked) + answers[-1]
    return [
        replace(turn, train=i == last) if turn.role == "assistant" else turn
        for i, turn in enumerate(turns)
    ]


def _turns(value: Any, name: str, role: str, account: Account) -> list[Turn]:
    if isinstance(value, str):
        return [Turn(role=role, content=value)]
    if not value:
        return []
    turns: Sequence[Turn] = turns_parse(value, name, account)
    return list(turns)
