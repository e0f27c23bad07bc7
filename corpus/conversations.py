"""From an example to token ids and decision spans: the one function for engine and token view.

Uses `tokenizers` and sandboxed Jinja2 only; no torch, no transformers.
"""

import bisect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tokenizers import Encoding, Tokenizer

from corpus.controls import ControlTokens, SplitTokens, WholeTokens, control_tokens_mark
from corpus.encoded import EncodedExample, Segment
from corpus.examples import TEXT, Example
from corpus.jsontext import ExampleError
from corpus.reasoning import TAGS, reasoning_of
from corpus.templates import (
    DEFAULT_TEMPLATE,
    ChatTemplate,
    messages_prepare,
    special_tokens_read,
    template_source_read,
)

_DECODE_WINDOW_TOKENS = 8
_OPENED, _CLOSED = ("|".join(re.escape(marks[which]) for marks in TAGS) for which in (0, 1))
_EMPTY_REASONING = re.compile(rf"\s*(?:(?:{_OPENED})\s*)?(?:{_CLOSED})\s*")
"""What templates write before an answer that nothing was thought before: marks around nothing."""
_Given = TypeVar("_Given")


class RewrittenError(ExampleError):
    """A template writes an earlier answer otherwise once more follows: see `ChatEncoder.unfold`."""


class Piece(NamedTuple):
    """One token's text, or that of several which share a character, and what it is."""

    text: str
    is_decision: bool
    is_reasoning: bool = False


class ChatEncoder:
    """Encodes examples with a model's own tokenizer and chat template."""

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, *, has_own_template: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.has_own_template = has_own_template
        """False where the plain default template stands in for a missing one."""
        self._control = ControlTokens(tokenizer)
        ends = {*self._control.contents, *template.special_tokens.values()}
        self._end_tokens = tuple(token for token in ends if token)

    @classmethod
    def from_directory(cls, directory: Path | str) -> "ChatEncoder":
        """Read tokenizer.json and the template of a Hugging Face directory.

        Raises ValueError, saying what is missing or unreadable.
        """
        directory = Path(directory)
        try:
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(f"tokenizer.json is missing or unreadable: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        settings_file = directory / "tokenizer_config.json"
        settings = json.loads(settings_file.read_bytes()) if settings_file.is_file() else {}
        if not isinstance(settings, dict):
            raise ValueError("tokenizer_config.json is not a JSON object")
        source = template_source_read(directory, settings)
        tokens = {"eos_token": "", **special_tokens_read(settings)}
        template = ChatTemplate(source or DEFAULT_TEMPLATE, tokens)
        return cls(tokenizer, template, has_own_template=source is not None)

    def encode(self, example: Example) -> EncodedExample:
        """Return the tokens of an example whose decisions are marked (`decisions_mark`).

        A decision is the assistant's content with its end-of-turn token, not the role header. The
        text is tokenised once as a whole, as `apply_chat_template` does, but for control tokens
        inside the turns' texts: those are plain text. Raises ExampleError where no turn is a
        decision, RewrittenError where the template writes a decision otherwise once more follows.
        """
        if example.turns[0].role == TEXT:
            return self._text_encode(example.turns[0].content)
        written = self._write(example)
        return written.encoded(self._tokenise(written.text, written.plain_at))

    def unfold(self, example: Example) -> list[Example]:
        """Return the conversation as it stands at its decisions: as few as show every decision.

        Most templates of models that think take the reasoning out of earlier answers, and some mark
        the last answer. So an answer that is not the last is learnt from a conversation that ends
        with it, as the model will write it; the others only read it as the template leaves it.
        Raises ExampleError where a decision does not begin as the template asks for an answer.
        """
        messages, decisions, tools = messages_prepare(example, self.template)
        render = self._renderer(example, tools)
        turns = [i for i, turn in enumerate(example.turns) if turn.train]
        places = [i for i, is_decision in enumerate(decisions) if is_decision]
        groups: list[list[int]] = []
        text = ""
        for turn, place in reversed(list(zip(turns, places, strict=True))):
            before, through = self._around(messages, place, render)
            if not (groups and text.startswith(through)):
                text = through
                groups.append([])
            if not through.startswith(before):
                raise ExampleError(
                    f"the model's chat template writes message {place + 1} otherwise than it asks "
                    "for an answer there, so its tokens cannot be told apart",
                    "Mark the turn train: false.",
                )
            groups[-1].append(turn)
        return [_cut(example, group) for group in reversed(groups)]

    def rendered(self, example: Example) -> str:
        """The text of an example as the model's template writes it."""
        return self._write(example).text

    def encode_many(self, examples: Sequence[Example]) -> list[EncodedExample | ExampleError]:
        """Return what `encode` returns or raises for each, tokenised side by side."""
        ((_, encoded),) = self.encode_stream([(None, examples)])
        return encoded

    def encode_stream(
        self, batches: Iterable[tuple[_Given, Sequence[Example]]]
    ) -> Iterator[tuple[_Given, list[EncodedExample | ExampleError]]]:
        """Yield what stands beside each batch of examples, and what `encode_many` makes of them.

        While one batch is tokenised, which needs no Python, the next one is written down.
        """
        with ThreadPoolExecutor(1) as pool:
            waiting: tuple[_Given, list[_Result], Future[list[Encoding]]] | None = None
            for given, examples in batches:
                results = [self._attempt(example) for example in examples]
                texts = [r.text for r in results if isinstance(r, _Written) and not r.plain_at]
                encodings = pool.submit(
                    self.tokenizer.encode_batch, texts, add_special_tokens=False
                )
                if waiting is not None:
                    yield waiting[0], self._finish_all(*waiting[1:])
                waiting = given, results, encodings
            if waiting is not None:
                yield waiting[0], self._finish_all(*waiting[1:])

    def _attempt(self, example: Example) -> "_Result":
        """An example written down; a plain text encoded; or why it cannot be."""
        try:
            is_text = example.turns[0].role == TEXT
            return self.encode(example) if is_text else self._write(example)
        except ExampleError as error:
            return error

    def _finish_all(
        self, results: "Sequence[_Result]", tokenised: Future[list[Encoding]]
    ) -> list[EncodedExample | ExampleError]:
        encodings = iter(tokenised.result())
        return [
            self._finish(one, encodings) if isinstance(one, _Written) else one for one in results
        ]

    def _finish(
        self, written: "_Written", encodings: Iterator[Encoding]
    ) -> EncodedExample | ExampleError:
        try:
            if written.plain_at:
                return written.encoded(self._tokenise(written.text, written.plain_at))
            return written.encoded(WholeTokens(written.text, next(encodings)))
        except ExampleError as error:
            return error

    def _write(self, example: Example) -> "_Written":
        """Write an example down as the template does, its decisions and plain places marked."""
        marked, mark = control_tokens_mark(example, self._control)
        text, decisions = self._render(marked)
        remarks = {"control_tokens"} if mark else set()
        remarks.update(remark for decision in decisions for remark in decision.remarks)
        plain_at: list[int] = []
        if mark:
            marks_at = [match.start() for match in re.finditer(mark, text)]
            plain_at = [at - i - 1 for i, at in enumerate(marks_at)]
            text = text.replace(mark, "")
            decisions = [decision.without_marks(marks_at) for decision in decisions]
        return _Written(
            text=text, decisions=decisions, plain_at=plain_at, remarks=frozenset(remarks)
        )

    def _text_encode(self, text: str) -> EncodedExample:
        """All tokens of a plain text but the first, which nothing stands before."""
        encoding = self.tokenizer.encode(text, add_special_tokens=True)
        ids: list[int] = encoding.ids
        if len(ids) < 2:
            raise ExampleError("the text has no two tokens", "Leave the example out.")
        segments = [
            Segment(start=0, end=1, is_decision=False),
            Segment(start=1, end=len(ids), is_decision=True),
        ]
        return EncodedExample(token_ids=ids, segments=segments)

    def pieces(self, example: Example) -> list[Piece]:
        """Return the example's text token by token, for coloured display.

        Tokens that share one character are joined, so every piece is whole text; the pieces put
        together are the conversation as the model sees it.
        """
        encoded = self.encode(example)
        pieces: list[Piece] = []
        for segment in encoded.segments:
            pending = segment.start
            for end in range(segment.start + 1, segment.end + 1):
                text = self._text_of(encoded.token_ids, pending, end)
                if not text.endswith("�") or end == segment.end:
                    is_reasoning = any(at <= pending < stop for at, stop in encoded.reasoning)
                    pieces.append(Piece(text, segment.is_decision, is_reasoning))
                    pending = end
        return pieces

    def _text_of(self, token_ids: list[int], start: int, end: int) -> str:
        # Decoders treat the first token of a text in a special way, so decode with some before it.
        before = token_ids[max(0, start - _DECODE_WINDOW_TOKENS) : start]
        prefix = self.tokenizer.decode(before, skip_special_tokens=False)
        whole = self.tokenizer.decode(before + token_ids[start:end], skip_special_tokens=False)
        return whole[len(prefix) :]

    def _tokenise(self, text: str, plain_at: Sequence[int]) -> WholeTokens | SplitTokens:
        """Return the tokens of a text; control tokens that begin at `plain_at` are plain text."""
        if not plain_at:
            return WholeTokens(text, self.tokenizer.encode(text, add_special_tokens=False))
        return self._control.tokenise(text, frozenset(plain_at))

    def _render(self, example: Example) -> tuple[str, list["_Decision"]]:
        """Return the text and every decision in it."""
        messages, decisions, tools = messages_prepare(example, self.template)
        if not any(decisions):
            raise ExampleError(
                "no decision tokens: no assistant turn to learn from",
                "Add an assistant turn, or mark one with train: true.",
            )
        render = self._renderer(example, tools)
        text = render(messages)
        spans = []
        for i, is_decision in enumerate(decisions):
            if not is_decision:
                continue
            before, through = self._around(messages, i, render)
            if not (text.startswith(through) and through.startswith(before)):
                raise RewrittenError(
                    f"the model's chat template writes message {i + 1} or what stands before it "
                    "differently once more messages follow, so its tokens cannot be told apart",
                    "Learn only the last turn (decision rule last), and begin with a user turn.",
                )
            spans.append(self._decision(messages[i], len(before), through, example))
        return text, spans

    def _renderer(
        self, example: Example, tools: Sequence[Mapping[str, Any]] | None
    ) -> Callable[..., str]:
        return partial(
            self.template.render,
            tools=tools,
            arguments=example.template_arguments,
            day=example.day,
        )

    @staticmethod
    def _around(
        messages: Sequence[Mapping[str, Any]], place: int, render: Callable[..., str]
    ) -> tuple[str, str]:
        """What stands before an answer when it is asked for, and the text that ends with it."""
        before = render(messages[:place], add_generation_prompt=True)
        return before, render(messages[: place + 1])

    def _decision(
        self, message: Mapping[str, Any], start: int, through: str, example: Example
    ) -> "_Decision":
        end, remarks = self._turn_end(through, start), set()
        if end == len(through) and not through.endswith(self._end_tokens):
            remarks.add("no_end_of_turn")
        reasoning = reasoning_of(message).strip()
        thought: tuple[int, int] | None = None
        if reasoning:
            at = through.find(reasoning, start)
            if at < 0:
                remarks.add("reasoning_unused")
            else:
                thought = at, at + len(reasoning)
                if example.reads_reasoning:
                    start = _reasoning_end(through, at + len(reasoning), end)
        elif empty := _EMPTY_REASONING.match(through, start):
            if example.learns_empty_reasoning:
                thought = start, start + len(empty.group().rstrip())
                remarks.add("empty_reasoning_learnt")
            else:  # learnt, it would teach the model to close its thinking at once
                start = empty.end()
                remarks.add("no_reasoning")
        return _Decision(start=start, end=end, remarks=frozenset(remarks), reasoning=thought)

    def _turn_end(self, through: str, start: int) -> int:
        """Return where a turn's end-of-turn token ends: before the white space that follows it."""
        stripped = through.rstrip()
        if len(stripped) > start and stripped.endswith(self._end_tokens):
            return len(stripped)
        return len(through)


def _cut(example: Example, turns: Sequence[int]) -> Example:
    """The conversation up to the last of these turns, which alone are learnt."""
    end = max(turns) + 1
    kept = (
        replace(turn, train=i in turns) if turn.role == "assistant" else turn
        for i, turn in enumerate(example.turns[:end])
    )
    return replace(example, turns=tuple(kept))


def _reasoning_end(text: str, at: int, end: int) -> int:
    """Return where what follows on reasoning begins: past its closing tag and white space."""
    rest = text[at:end]
    closing = _CLOSING_TAG.match(rest)
    at += closing.end() if closing else 0
    return at + len(text[at:end]) - len(text[at:end].lstrip())


_CLOSING_TAG = re.compile(r"\s*</[a-z_]+>")


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """Characters start..end-1 of a rendered text, and what is odd about them."""

    start: int
    end: int
    remarks: frozenset[str]
    reasoning: tuple[int, int] | None = None
    """Characters that are reasoning, inside the decision or, where it is only read, before it."""

    def without_marks(self, marks_at: Sequence[int]) -> "_Decision":
        """The same decision once the marks at these characters are taken out."""

        def moved(at: int) -> int:
            return at - bisect.bisect_left(marks_at, at)

        thought = self.reasoning and (moved(self.reasoning[0]), moved(self.reasoning[1]))
        return replace(self, start=moved(self.start), end=moved(self.end), reasoning=thought)


@dataclass(frozen=True, kw_only=True)
class _Written:
    """An example as its template writes it, before it is tokenised."""

    text: str
    decisions: Sequence[_Decision]
    plain_at: Sequence[int]
    """Characters at which a control token begins that is plain text."""
    remarks: frozenset[str]

    def encoded(self, tokens: WholeTokens | SplitTokens) -> EncodedExample:
        """The example with the tokens of its text."""
        segments = _segments(tokens, self.decisions)
        thoughts = (decision.reasoning for decision in self.decisions)
        return EncodedExample(
            token_ids=tokens.ids,
            segments=segments,
            remarks=self.remarks,
            reasoning=tuple((tokens.at(one[0]), tokens.at(one[1])) for one in thoughts if one),
        )


_Result = EncodedExample | ExampleError | _Written


def _segments(tokens: WholeTokens | SplitTokens, decisions: Sequence[_Decision]) -> list[Segment]:
    segments: list[Segment] = []
    position = 0
    for decision in decisions:
        start = max(tokens.at(decision.start), position)
        end = tokens.at(decision.end)
        if start == 0 or end <= start:
            raise ExampleError(
                "a decision has no tokens, or no context before it",
                "Put a user or system turn before the assistant's turn.",
            )
        if start > position:
            segments.append(Segment(start=position, end=start, is_decision=False))
        segments.append(Segment(start=start, end=end, is_decision=True))
        position = end
    if position < len(tokens.ids):
        segments.append(Segment(start=position, end=len(tokens.ids), is_decision=False))
    return segments
