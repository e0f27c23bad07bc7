"""Reasoning: what an assistant thought before its answer, and what of it a batch learns.

It stands apart from the text (`reasoning_content` and the like), or at its beginning inside
<think> tags; either way it is one thing with one choice.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corpus.examples import Example, Turn

LEARN, READ, LEAVE_OUT = "learn", "read", "leave_out"
CHOICES = {
    LEARN: "learn it",
    READ: "only read it",
    LEAVE_OUT: "leave it out",
}
"""What a batch does with reasoning."""

NAMES = ("reasoning_content", "thinking", "reasoning")
"""Fields in which chat templates look for it."""
_INLINE = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def has_reasoning(example: Example) -> bool:
    """Whether any of the assistant's turns has reasoning."""
    return any(
        turn.reasoning or (turn.role == "assistant" and _INLINE.match(turn.content))
        for turn in example.turns
    )


def reasoning_choose(example: Example, choice: str) -> Example:
    """Return the example with its reasoning as a batch has chosen."""
    if choice == LEARN or not has_reasoning(example):
        return example
    if choice == READ:
        return replace(example, reads_reasoning=True)
    return replace(example, turns=tuple(_without(turn) for turn in example.turns))


def _without(turn: Turn) -> Turn:
    if turn.role != "assistant":
        return turn
    return replace(turn, reasoning=None, content=_INLINE.sub("", turn.content, count=1))


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The reasoning in a message for a chat template, in a field or inside the text; "" without."""
    for name in NAMES:
        if message.get(name):
            return str(message[name])
    inline = _INLINE.match(message["content"] or "")
    return inline.group(1) if inline else ""
