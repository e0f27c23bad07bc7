"""Control tokens inside a turn's text: plain text, so that no text can end a turn or begin one.

A tokenizer finds its special tokens wherever they stand, also in the words of a user who quotes
them. Here the texts of an example are marked before a chat template writes them down, so that the
template's own control tokens are told from those that somebody wrote.
"""

import bisect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tokenizers import Encoding, Tokenizer

from corpus.examples import Example, Turn
from corpus.jsontext import ExampleError, texts_of

_MARKS = range(0xE000, 0xF8FF)
"""Private-use characters: one that stands nowhere in the example becomes the mark."""


class WholeTokens:
    """The tokens of a text that was tokenised as a whole."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self._length = len(text)
        self._encoding = encoding
        self.ids: list[int] = encoding.ids

    def at(self, character: int) -> int:
        """Return the token that a character is in, or the next one where it is in none.

        A token that straddles a boundary so belongs to what begins there.
        """
        for place in range(character, self._length):
            token = self._encoding.char_to_token(place)
            if token is not None:
                return int(token)
        return len(self.ids)


class SplitTokens:
    """The tokens of a text that was tokenised in parts, with the character at which each ends."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._ends: list[int] = []

    def add(self, token_id: int, end: int) -> None:
        """Append a token that ends before character `end`."""
        self.ids.append(token_id)
        self._ends.append(max(end, self._ends[-1] if self._ends else 0))

    def at(self, character: int) -> int:
        """Return the token that a character is in, or the next one where it is in none."""
        return bisect.bisect_right(self._ends, character)


class ControlTokens:
    """The special tokens of a tokenizer, and how a text is tokenised in which some are plain."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._ids = {token.content: number for number, token in added.items() if token.special}
        self.contents: tuple[str, ...] = tuple(name for name in self._ids if name)
        longest_first = sorted(self.contents, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._plain: Tokenizer | None = None

    def is_in(self, text: str) -> bool:
        """Whether a special token stands in the text."""
        return self._pattern.search(text) is not None

    def marked(self, text: str, mark: str) -> str:
        """The text with `mark` after the first character of every special token."""
        return self._pattern.sub(lambda match: match[0][0] + mark + match[0][1:], text)

    def tokenise(self, text: str, plain_at: frozenset[int]) -> SplitTokens:
        """Tokenise a text whose special tokens are such but for those that begin at `plain_at`.

        Raises ExampleError where this tokenizer cannot read a text in parts.
        """
        split = self._split(text, plain_at)
        whole = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self._split(text, frozenset()).ids != whole:
            raise ExampleError(
                "control tokens stand in its text, and this tokenizer cannot read them as text",
                "Take them out of the text, or put a space inside each.",
            )
        return split

    def _split(self, text: str, plain_at: frozenset[int]) -> SplitTokens:
        tokens, begin = SplitTokens(), 0
        for match in self._pattern.finditer(text):
            if match.start() in plain_at:
                continue
            self._run(text, begin, match.start(), tokens)
            tokens.add(self._ids[match[0]], match.end())
            begin = match.end()
        self._run(text, begin, len(text), tokens)
        return tokens

    def _run(self, text: str, start: int, end: int, tokens: SplitTokens) -> None:
        if start == end:
            return
        if self._plain is None:
            self._plain = Tokenizer.from_str(self._tokenizer.to_str())
            self._plain.no_truncation()
            self._plain.no_padding()
            self._plain.encode_special_tokens = True
        encoding = self._plain.encode(text[start:end], add_special_tokens=False)
        for token_id, (_, token_end) in zip(encoding.ids, encoding.offsets, strict=True):
            tokens.add(token_id, start + token_end)


def control_tokens_mark(example: Example, control: ControlTokens) -> tuple[Example, str]:
    """Return the example with its texts marked, and the mark; "" where no text has a token."""
    texts = list(texts_of(_texts(example)))
    if not any(control.is_in(text) for text in texts):
        return example, ""
    used = set("".join(texts))
    mark = next((chr(code) for code in _MARKS if chr(code) not in used), None)
    if mark is None:
        raise ExampleError("every private-use character stands in it", "Take some of them out.")
    every = _everywhere(lambda text: control.marked(text, mark))
    turns = tuple(_turn_map(turn, every) for turn in example.turns)
    return replace(example, turns=turns, tools=tuple(every(one) for one in example.tools)), mark


def _texts(example: Example) -> list[Any]:
    calls = [call for turn in example.turns for call in turn.tool_calls]
    own = [part for turn in example.turns for part in (turn.content, turn.reasoning, turn.name)]
    return [*own, *(part for call in calls for part in (call.name, call.arguments)), *example.tools]


def _turn_map(turn: Turn, every: Callable[[Any], Any]) -> Turn:
    calls = tuple(
        replace(call, name=every(call.name), arguments=every(call.arguments))
        for call in turn.tool_calls
    )
    return replace(
        turn,
        content=every(turn.content),
        reasoning=every(turn.reasoning),
        name=every(turn.name),
        tool_calls=calls,
    )


def _everywhere(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Apply a change to every string of a decoded JSON value, keys included."""

    def apply(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, dict):
            return {change(name): apply(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [apply(one) for one in value]
        return value

    return apply
