"""Reasoning: what an assistant thought before its answer, and what of it a batch learns.

It stands apart from the text (`reasoning_content` and the like), or at its beginning inside
<think> tags; either way it is one thing with one choice. What a model of any family wrote is parted
by the family's own marks.
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
MARKS = (
    ("<think>", "</think>"),  # DeepSeek, Qwen, GLM and most others
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis<|message|>", "<|end|>"),  # gpt-oss
    ("Here is my thought process:", "Here is my response:"),  # Granite
)
"""What stands before and behind a model's reasoning, family by family."""
_TAGS = MARKS[:6]
_BEFORE_THE_ANSWER = re.compile(
    r"(?:\s*(?:<\|start\|>assistant|<\|channel\|>final<\|message\|>|<\|START_RESPONSE\|>))+"
)
_BEHIND_THE_ANSWER = "<|END_RESPONSE|>"
_THOUGHTS_MAX = 20
"""Pieces of reasoning that are looked for before an answer."""
MARK_TOKENS = frozenset(mark for marks in _TAGS for mark in marks) | {
    *("<|channel>", "<channel|>"),
    *("<|channel|>", "<|message|>", "<|end|>", "<|start|>"),
    *("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
}
"""Special tokens that stay in a model's text, or reasoning could not be told from the answer."""
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


def answer_split(text: str) -> tuple[str, str]:
    """Return the reasoning and the answer in what a model wrote; "" for what is not there.

    Reasoning that is never closed, because the text was cut, is all reasoning. Where a chat
    template opens it, the text has only the closing mark, at the beginning of a line.
    """
    thoughts: list[str] = []
    rest = _unwrapped(text)
    while len(thoughts) < _THOUGHTS_MAX:
        begin = rest.lstrip()
        marks = next((marks for marks in MARKS if begin.startswith(marks[0])), None)
        if marks is None:
            break
        inside, _, rest = begin[len(marks[0]) :].partition(marks[1])
        thoughts.append(inside)
        rest = _unwrapped(rest)
    for _, mark in _TAGS if not thoughts else ():
        before, closing, behind = f"\n{rest}".partition(f"\n{mark}")
        if closing:
            thoughts, rest = [before], behind
            break
    if not thoughts:
        return "", rest
    return "\n\n".join(filter(None, map(str.strip, thoughts))), rest.strip()


def _unwrapped(text: str) -> str:
    """An answer without the marks in which its family wraps it."""
    begin = _BEFORE_THE_ANSWER.match(text)
    return text[begin.end() if begin else 0 :].removesuffix(_BEHIND_THE_ANSWER)
