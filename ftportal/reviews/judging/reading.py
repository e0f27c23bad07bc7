"""Answers as reviewers read them: reasoning apart, folded, as written, or with what differs."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from corpus.reasoning import answer_split
from ftportal.pages.markdown import LaidOut, lay_out, written
from ftportal.pages.words import count_words
from ftportal.reviews.judging.differences import COMPARED_MAX_WORDS, differences
from ftportal.reviews.models import Generation, TrialAnswer

LAID_OUT, WRITTEN, DIFFERENCES = "laid-out", "written", "differences"
SHOWS = (LAID_OUT, WRITTEN, DIFFERENCES)
"""Ways to show two answers; the first is usual."""


_SAME = "Both answers are the same, word for word."
_MARKED = "Marked is what the other answer does not have."
_TOO_LONG = f"Answers of more than {COMPARED_MAX_WORDS:,} words are not compared."


@dataclass(frozen=True, kw_only=True)
class Read:
    """One answer as it is shown."""

    answer: LaidOut
    reasoning: LaidOut | None
    reasoning_words: int
    cut: str
    """That it was cut, and where; empty for a whole one."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no answer to show."""
        return not self.answer.head.strip()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers, shown in one and the same manner."""

    show: str
    left: Read
    right: Read
    words: str
    """What there is to say of the two together."""

    @property
    def sides(self) -> Sequence[tuple[str, str, Read]]:
        """(side, title, answer) from left to right."""
        return [("left", "Left", self.left), ("right", "Right", self.right)]

    @property
    def has_reasoning(self) -> bool:
        """Whether one of them has reasoning: then both say whether they have."""
        return bool(self.left.reasoning or self.right.reasoning)


def read(answer: Generation | TrialAnswer) -> Read:
    """An answer laid out, its reasoning apart."""
    reasoning, text = answer_split(answer.text)
    return _read(answer, reasoning, lay_out(text))


def pair_of(left: Generation, right: Generation, show: str) -> Pair:
    """Two answers side by side, in the manner that was asked for."""
    answers = (left, right)
    split = [answer_split(answer.text) for answer in answers]
    texts = [text for _, text in split]
    words = _SAME if texts[0].split() == texts[1].split() else ""
    if show == WRITTEN:
        laid = [written(answer.text) for answer in answers]
        split = [("", text) for text in texts]
    elif show == DIFFERENCES and not words:
        marked = differences(*texts)
        words = _MARKED if marked else _TOO_LONG
        laid = [_unfolded(html) for html in marked] if marked else [*map(written, texts)]
    else:
        show, laid = LAID_OUT, [*map(lay_out, texts)]
    sides = [
        _read(answer, reasoning, one)
        for answer, (reasoning, _), one in zip(answers, split, laid, strict=True)
    ]
    return Pair(show=show, left=sides[0], right=sides[1], words=words)


def _unfolded(html: SafeString) -> LaidOut:
    return LaidOut(
        head=html, rest=SafeString(""), rest_words=0, rest_characters=0, as_written="to compare"
    )


def _read(answer: Generation | TrialAnswer, reasoning: str, laid: LaidOut) -> Read:
    cut = ""
    if answer.is_cut:
        before = ", before its answer began" if reasoning and not laid.head.strip() else ""
        cut = f"Cut at {answer.cut_at_tokens:,} tokens{before}."
    return Read(
        answer=laid,
        reasoning=lay_out(reasoning) if reasoning else None,
        reasoning_words=count_words(reasoning),
        cut=cut,
    )
