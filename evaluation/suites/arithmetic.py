"""Writes local/local_arithmetic.jsonl: sums, sequences and word problems with a fixed seed.

Run ``python -m evaluation.suites.arithmetic`` after a change here. The items are committed, so
that a change of Python's random generator could never change a benchmark behind its name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

TARGET = Path(__file__).parent / "local" / "local_arithmetic.jsonl"
SEED = 20240501
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry")
THINGS = ("apples", "books", "coins", "pencils", "stamps", "marbles", "cards", "shells")

Question = tuple[str, int]


def _addition(draw: random.Random) -> Question:
    a, b = draw.randint(1, 12), draw.randint(1, 12)
    return f"Question: What is {a} plus {b}?\nAnswer:", a + b


def _addition_signs(draw: random.Random) -> Question:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    return f"2 + 2 = 4\n1 + 5 = 6\n{a} + {b} =", a + b


def _subtraction(draw: random.Random) -> Question:
    b, difference = draw.randint(1, 9), draw.randint(1, 9)
    return f"5 - 2 = 3\n9 - 1 = 8\n{b + difference} - {b} =", difference


def _multiplication(draw: random.Random) -> Question:
    a, b = draw.randint(2, 10), draw.randint(2, 10)
    return f"2 * 2 = 4\n3 * 5 = 15\n{a} * {b} =", a * b


def _sequence(draw: random.Random) -> Question:
    start, step = draw.randint(1, 10), draw.choice((1, 2, 3, 5, 10))
    shown = ", ".join(str(start + step * i) for i in range(5))
    return f"{shown},", start + 5 * step


def _countdown(draw: random.Random) -> Question:
    step = draw.choice((1, 2, 5, 10))
    start = 4 * step + draw.randint(4, 30)
    shown = ", ".join(str(start - step * i) for i in range(4))
    return f"{shown},", start - 4 * step


def _story_gain(draw: random.Random) -> Question:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    text = f"{name} has {a} {thing} and gets {b} more. Now {name} has {a} + {b} ="
    return text, a + b


def _story_loss(draw: random.Random) -> Question:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    b, left = draw.randint(2, 8), draw.randint(2, 9)
    text = f"{name} has {b + left} {thing} and gives away {b}. Now {name} has"
    return text, left


PLAN: tuple[tuple[str, int, Callable[[random.Random], Question]], ...] = (
    ("addition", 10, _addition),
    ("addition", 10, _addition_signs),
    ("subtraction", 12, _subtraction),
    ("multiplication", 12, _multiplication),
    ("sequences", 8, _sequence),
    ("sequences", 6, _countdown),
    ("stories", 6, _story_gain),
    ("stories", 4, _story_loss),
)


def _wrong(draw: random.Random, right: int) -> list[int]:
    """Three wrong answers near the right one, so that size alone does not give it away."""
    near = [right + offset for offset in (-4, -3, -2, -1, 1, 2, 3, 4, 10)]
    return draw.sample([value for value in near if value >= 0], 3)


def items() -> Iterator[dict[str, object]]:
    """All items, the same on every call and without two alike questions."""
    draw = random.Random(SEED)  # noqa: S311 - questions, not secrets
    seen: set[str] = set()
    for group, count, question_make in PLAN:
        made = 0
        while made < count:
            question, right = question_make(draw)
            shown, _, asked = question.rpartition("\n")
            if question in seen or asked in shown:  # never ask what an example line answers
                continue
            seen.add(question)
            made += 1
            wrong = [f" {value}" for value in _wrong(draw, right)]
            yield {"group": group, "question": question, "right": f" {right}", "wrong": wrong}


if __name__ == "__main__":
    TARGET.write_text("".join(json.dumps(item) + "\n" for item in items()), encoding="utf-8")
