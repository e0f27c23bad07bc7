"""From an example to token ids and decision spans: the one function for engine and token view.

Uses `tokenizers` and sandboxed Jinja2 only; no torch, no transformers.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from corpus.examples import Example, ExampleError
from corpus.templates import (
    DEFAULT_TEMPLATE,
    ChatTemplate,
    messages_prepare,
    special_tokens_read,
    template_source_read,
)

_DECODE_WINDOW_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Tokens start..end-1 of an example, all decision or all context."""

    start: int
    end: int
    is_decision: bool


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """The tokens of one example and what they are for."""

    token_ids: list[int]
    segments: list[Segment]
    """In order, without gaps, alternating context and decision; they cover every token."""
    left_out: frozenset[int] = frozenset()
    """Places of decision tokens that are not learnt: they are read, as context is, and give no
    loss."""

    @property
    def decisions(self) -> list[Segment]:
        """The decisions that have something to learn, in order."""
        return [s for s in self.segments if s.is_decision and self.targets(s)]

    def targets(self, decision: Segment) -> list[int]:
        """Return the places of a decision's tokens that are learnt."""
        return [i for i in range(decision.start, decision.end) if i not in self.left_out]

    @property
    def decision_token_count(self) -> int:
        """Tokens that are learnt."""
        return sum(s.end - s.start for s in self.segments if s.is_decision) - len(self.left_out)

    @property
    def context_token_count(self) -> int:
        """Tokens that are only read."""
        return len(self.token_ids) - self.decision_token_count


class ChatEncoder:
    """Encodes examples with a model's own tokenizer and chat template."""

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, *, has_own_template: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.has_own_template = has_own_template
        """False where the plain default template stands in for a missing one."""
        added = tokenizer.get_added_tokens_decoder().values()
        ends = {token.content for token in added if token.special}
        ends.update(template.special_tokens.values())
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
        source = template_source_read(directory, settings)
        tokens = {"eos_token": "", **special_tokens_read(settings)}
        template = ChatTemplate(source or DEFAULT_TEMPLATE, tokens)
        return cls(tokenizer, template, has_own_template=source is not None)

    def encode(self, example: Example) -> EncodedExample:
        """Return the tokens of an example whose decisions are marked (`decisions_mark`).

        A decision is the assistant's content with its end-of-turn token, not the role header. The
        text is tokenised once as a whole, as `apply_chat_template` does. Raises ExampleError where
        no turn is a decision or the template gives no stable prefixes.
        """
        text, spans = self._render(example)
        token_ids = self._tokens(text)
        segments: list[Segment] = []
        position = character = 0
        for start_character, end_character in spans:
            start = self._boundary(text, token_ids, (character, position), start_character)
            end = self._boundary(text, token_ids, (start_character, start), end_character)
            start, character = max(start, position), end_character
            if start == 0 or end <= start:
                raise ExampleError(
                    "a decision has no tokens, or no context before it",
                    "Put a user or system turn before the assistant's turn.",
                )
            if start > position:
                segments.append(Segment(start=position, end=start, is_decision=False))
            segments.append(Segment(start=start, end=end, is_decision=True))
            position = end
        if position < len(token_ids):
            segments.append(Segment(start=position, end=len(token_ids), is_decision=False))
        return EncodedExample(token_ids=token_ids, segments=segments)

    def pieces(self, example: Example) -> list[tuple[str, bool]]:
        """Return the example's text token by token as (text, is_decision), for coloured display.

        Tokens that share one character are joined, so every piece is whole text; the pieces put
        together are the conversation as the model sees it.
        """
        encoded = self.encode(example)
        pieces: list[tuple[str, bool]] = []
        for segment in encoded.segments:
            pending = segment.start
            for end in range(segment.start + 1, segment.end + 1):
                text = self._text_of(encoded.token_ids, pending, end)
                if not text.endswith("�") or end == segment.end:
                    pieces.append((text, segment.is_decision))
                    pending = end
        return pieces

    def _boundary(self, text: str, token_ids: list[int], known: tuple[int, int], to: int) -> int:
        """Return the token at which character `to` of the text begins.

        `known` is a (character, token) boundary before it. Tokenising only what lies between is
        right wherever it gives the very tokens of the whole; elsewhere (a token across a boundary,
        a tokenizer that treats the start of a text in its own way) the whole prefix decides.
        """
        character, token = known
        between = self._tokens(text[character:to])
        if token_ids[token : token + len(between)] == between:
            return token + len(between)
        return _common_length(self._tokens(text[:to]), token_ids)

    def _text_of(self, token_ids: list[int], start: int, end: int) -> str:
        # Decoders treat the first token of a text in a special way, so decode with some before it.
        before = token_ids[max(0, start - _DECODE_WINDOW_TOKENS) : start]
        prefix = self.tokenizer.decode(before, skip_special_tokens=False)
        whole = self.tokenizer.decode(before + token_ids[start:end], skip_special_tokens=False)
        return whole[len(prefix) :]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _render(self, example: Example) -> tuple[str, list[tuple[int, int]]]:
        """Return the text and the (start, end) characters of every decision in it."""
        messages, decisions, tools = messages_prepare(example, self.template)
        if not any(decisions):
            raise ExampleError(
                "no decision tokens: no assistant turn to learn from",
                "Add an assistant turn, or mark one with train: true.",
            )
        text = self.template.render(messages, tools=tools)
        spans = []
        for i, is_decision in enumerate(decisions):
            if not is_decision:
                continue
            before = self.template.render(messages[:i], tools=tools, add_generation_prompt=True)
            through = self.template.render(messages[: i + 1], tools=tools)
            if not (text.startswith(through) and through.startswith(before)):
                raise ExampleError(
                    f"the model's chat template writes message {i + 1} or what stands before it "
                    "differently once more messages follow, so its tokens cannot be told apart",
                    "Learn only the last turn (decision rule last), and begin with a user turn.",
                )
            spans.append((len(before), self._turn_end(through, len(before))))
        return text, spans

    def _turn_end(self, through: str, start: int) -> int:
        """Return where a turn's end-of-turn token ends: before the white space that follows it."""
        stripped = through.rstrip()
        if len(stripped) > start and stripped.endswith(self._end_tokens):
            return len(stripped)
        return len(through)


def _common_length(first: list[int], second: list[int]) -> int:
    """Return how many leading tokens two lists share.

    A token that straddles the end of `first`'s text is not shared, so it counts to what follows.
    """
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))
