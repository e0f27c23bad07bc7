"""What of a conversation is read with gradient and what without, and what that costs.

The first token of a decision is predicted by the token before it, so that one is read with the
decision. With a gradient window of W tokens so are the last W tokens before the decision. No torch
here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from corpus.encoded import EncodedExample
from training.config import GATHERED_TOKENS


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The tokens that run with gradient for one decision."""

    start: int
    end: int
    """Tokens start..end-1 run; everything before them is read without gradient."""
    targets: tuple[int, ...]
    """Places of the tokens that are learnt; each is predicted by the token before it."""


def stretches(example: EncodedExample, grad_window: int = 0) -> list[Stretch]:
    """Return a stretch for every decision that has something to learn.

    grad_window: W, tokens before the decision's first target that run with gradient; the last one
    always does, so 0 and 1 are the same.
    """
    spans = []
    for decision in example.decisions:
        targets = example.targets(decision)
        start = max(0, targets[0] - max(1, grad_window))
        # Never one token alone: models with a recurrent state have another path for generation.
        end = max(targets[-1], start + 2)
        spans.append(Stretch(start=start, end=end, targets=tuple(targets)))
    return spans


def stretches_group(parts: Sequence[Stretch]) -> list[list[Stretch]]:
    """Return neighbours together, up to GATHERED_TOKENS in a group; a longer one is alone."""
    groups: list[list[Stretch]] = []
    tokens = GATHERED_TOKENS
    for part in parts:
        tokens += part.end - part.start
        if tokens > GATHERED_TOKENS or not groups:
            groups.append([])
            tokens = part.end - part.start
        groups[-1].append(part)
    return groups


def arithmetic(example: EncodedExample, *, context_frozen: bool, grad_window: int = 0) -> int:
    """Return what learning an example costs, in units of one token's forward (2N operations).

    A token with gradient costs 3, for the backward is twice the forward. Attention's own
    operations, which grow with the square of the length, are left out.
    """
    parts = stretches(example, grad_window)
    if not parts:
        return 0
    if not context_frozen:
        return 3 * parts[-1].end
    return sum(units for units, _ in _walk([parts]))


def mean_arithmetic(
    *,
    context_tokens: float,
    decision_tokens: float,
    decisions: float,
    context_frozen: bool,
    grad_window: int = 0,
) -> float:
    """Return what an example costs of which only means are known, in the units of `arithmetic`.

    context_tokens, decision_tokens, decisions: of one example; they count as spread evenly.
    """
    if not context_frozen:
        return 3.0 * (context_tokens + decision_tokens)
    count = max(1, round(decisions))
    context, decision = context_tokens / count, decision_tokens / count
    units = 0.0
    for number in range(count):
        before = (number + 1) * context + number * decision
        window = min(float(grad_window), before)
        units += max(0.0, context - window) + 3.0 * (window + decision)
    return units


def padded_arithmetic(rows: Sequence[Sequence[Stretch]]) -> int:
    """Return what walking conversations side by side costs, pads counted, in the same units."""
    return sum(units * count for units, count in _walk(rows))


def _walk(rows: Sequence[Sequence[Stretch]]) -> list[tuple[int, int]]:
    """(units of each conversation, conversations) of every decision that is walked together."""
    spans = []
    read = [0] * len(rows)
    for number in range(max(map(len, rows), default=0)):
        active = [index for index, row in enumerate(rows) if number < len(row)]
        parts = [rows[index][number] for index in active]
        context = max(max(0, p.start - read[i]) for i, p in zip(active, parts, strict=True))
        gradient = max(part.end - part.start for part in parts)
        spans.append((context + 3 * gradient, len(active)))
        for index, part in zip(active, parts, strict=True):
            read[index] = part.end
    return spans
