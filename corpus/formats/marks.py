"""Marks: which turns the source says are learnt, under the many names that tools give them."""

from collections.abc import Sequence
from typing import Any

from corpus.fields import Fields
from corpus.jsontext import ExampleError, shown

NAMES = ("train", "trainable", "training", "loss", "loss_mask", "loss_weight", "weight")
"""Ours, and those of LLaMA-Factory, axolotl, ms-swift and OpenAI."""
LIST_NAMES = ("loss_mask", "train_mask", "loss_weights", "weights", "trainable")
"""Lists beside the turns, one mark each."""
_WORDS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


def mark_value(value: Any, where: str) -> bool:
    """Whether a mark says that a turn is learnt; ExampleError for anything but 0, 1 and the like.

    A weight between 0 and 1 is not rounded: this engine learns a turn or reads it.
    """
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise ExampleError(
        f"{where} is {shown(value)}: a turn is learnt or it is not",
        "Write 0 or 1, true or false. Weights in between cannot be honoured.",
    )


def mark_take(fields: Fields, role: str, number: int, beside: bool | None) -> bool | None:
    """Return the mark of a turn, None where it has none; ExampleError where marks disagree.

    beside: the mark that a list beside the turns gives it.
    """
    marks: dict[str, bool] = {} if beside is None else {"the list beside the turns": beside}
    for name in NAMES:
        value = fields.take(name)
        if value is not None:
            marks[name] = mark_value(value, f"turn {number}: {name}")
    if len(set(marks.values())) > 1:
        names = " and ".join(marks)
        raise ExampleError(f"turn {number}: its marks disagree ({names})", "Keep one of them.")
    mark = next(iter(marks.values()), None)
    if mark and role != "assistant":
        raise ExampleError(
            f"turn {number}: a {role} turn is marked to be learnt ({', '.join(marks)})",
            "Only assistant turns can be learnt; remove the mark.",
        )
    return mark


def marks_beside_take(fields: Fields, count: int) -> Sequence[bool | None]:
    """Return the marks that a list beside `count` turns gives them; all None without a list.

    A mark of the whole record that says it is learnt changes nothing; one that says it is not
    raises LeftOutError.
    """
    marks: list[bool | None] = [None] * count
    for name in dict.fromkeys((*LIST_NAMES, *NAMES)):
        value = fields.take(name)
        if value is None:
            continue
        if not isinstance(value, list):
            if not mark_value(value, name):
                raise LeftOutError(f"its {name} is {shown(value)}")
            continue
        if len(value) != count:
            raise ExampleError(
                f"{name} has {len(value):,} marks for {count:,} turns", "Write one for each turn."
            )
        for i, one in enumerate(value):
            mark = mark_value(one, f"turn {i + 1}: {name}")
            if marks[i] is not None and marks[i] != mark:
                raise ExampleError(f"turn {i + 1}: its marks disagree", "Keep one list of marks.")
            marks[i] = mark
    return marks


class LeftOutError(Exception):
    """The source says that a record is not to be learnt; the text says how."""
