"""The token view: examples of a batch as the model sees them, decision tokens told from context."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby, islice
from typing import Any, NamedTuple, overload

from corpus.confined import ConfinedError, decisions_show, examples_show
from ftportal.datasets.models import Batch, BatchState

FOLD_CHARACTERS = 700
"""A context longer than this is folded; its beginning and its end stay to be seen."""
_HEAD_CHARACTERS = 200
_TAIL_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Tokens of one sort in a row: the pieces of a decision, or the text of a context."""

    is_decision: bool
    is_reasoning: bool
    pieces: Sequence[str]
    """One string a token; a context is head, folded middle and tail, or the whole."""

    @property
    def is_folded(self) -> bool:
        """Whether this is a context with a folded middle."""
        return not self.is_decision and len(self.pieces) == 3


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """One example for the page."""

    number: int
    line: int
    sha256: str
    is_held_out: bool
    stretches: Sequence[Stretch]
    context_token_count: int
    decision_token_count: int
    problem: str = ""
    """Why it has no tokens with this model."""


class Piece(NamedTuple):
    """One token's text and what it is, as `corpus.confined` tells it."""

    text: str
    is_decision: bool
    is_reasoning: bool


def decision_texts(batch: Batch, decisions: Sequence[tuple[dict[str, Any], int]]) -> Sequence[str]:
    """The texts of decisions, as the model would say them.

    decisions: an example's line of examples.jsonl and the decision's place in it, from 0, of each.
    """
    try:
        return decisions_show(batch.language_model.pretrained.directory, decisions)
    except ConfinedError as error:
        return [str(error)] * len(decisions)


class BatchExamples(Sequence[ShownExample]):
    """The examples of a batch that was read; slices are encoded when they are asked for."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        is_ready = batch.state == BatchState.READY
        self._path = batch.examples_path if is_ready else batch.read_path
        count = batch.example_count if is_ready else batch.good_count
        self._count = count or 0 if self._path.is_file() else 0

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> ShownExample: ...
    @overload
    def __getitem__(self, at: slice) -> list[ShownExample]: ...
    def __getitem__(self, at: int | slice) -> ShownExample | list[ShownExample]:
        if isinstance(at, slice):
            start, stop, _ = at.indices(self._count)
            return list(self._read(start, stop))
        return next(self._read(at, at + 1))

    def _read(self, start: int, stop: int) -> Iterator[ShownExample]:
        if start >= stop:
            return
        with self._path.open("rb") as stream:
            records = [json.loads(line) for line in islice(stream, start, stop)]
        for number, record, answer in zip(
            count(start + 1), records, self._answers(records), strict=False
        ):
            yield ShownExample(
                number=number,
                line=record["line"],
                sha256=record["sha256"],
                is_held_out=record["held_out"],
                stretches=list(_stretches([Piece(*one) for one in answer.get("pieces", ())])),
                context_token_count=answer.get("context_token_count", 0),
                decision_token_count=answer.get("decision_token_count", 0),
                problem=answer.get("problem", ""),
            )

    def _answers(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        directory = self._batch.language_model.pretrained.directory
        try:
            return examples_show(directory, records)
        except ConfinedError as error:
            return [{"problem": f"this page cannot be shown: {error}"}] * len(records)


def _stretches(pieces: Sequence[Piece]) -> Iterator[Stretch]:
    for (is_decision, is_reasoning), run in groupby(pieces, key=lambda piece: piece[1:]):
        texts = [piece.text for piece in run]
        shown = texts if is_decision else _folded("".join(texts))
        yield Stretch(is_decision=is_decision, is_reasoning=is_reasoning, pieces=shown)


def _folded(text: str) -> list[str]:
    """The text whole, or where it is long its head, middle and tail, cut at the ends of lines."""
    if len(text) <= FOLD_CHARACTERS:
        return [text]
    head = text.rfind("\n", 0, _HEAD_CHARACTERS) + 1 or _HEAD_CHARACTERS
    tail = text.find("\n", len(text) - _TAIL_CHARACTERS) + 1 or len(text) - _TAIL_CHARACTERS
    return [text[:head], text[head:tail], text[tail:]]
