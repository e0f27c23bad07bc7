"""The fast way for plain chat lines: role and content, nothing else.

Most lines of most files are of this kind, and the general reader takes ten times as long. Whatever
is not certainly plain, and whatever is wrong, is left to it: see `plain_read`.
"""

from json.encoder import encode_basestring_ascii
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from corpus.formats import TURNS_MAX
from corpus.ingestion.tally import DECISION_CHARACTERS


class _Turn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """In the order of the canonical form, so that encoding it again is writing that."""

    content: Raw
    """The literal as it stands in the line: its escapes are checked, its encoding is not."""
    role: Literal["system", "user", "assistant"]
    train: bool | UnsetType = UNSET
    """Set here, never read: a line that has it has too many quotes."""


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: list[_Turn]


_HEAD_BYTES = 64
_ESCAPES = frozenset(b'bfnrt"')
"""What follows a backslash where `json.dumps` writes one too, but for a second backslash."""
_RECORD = msgspec.json.Decoder(_Record)
_TEXT = msgspec.json.Decoder(str)
_ENCODER = msgspec.json.Encoder()


class PlainChat(NamedTuple):
    """One plain line: the parts of its canonical form, and what is counted of it."""

    turn_count: int
    answer_count: int
    last: str
    """The last answer, or at least as much of it as is counted."""
    hashed: bytes
    """What `Example.sha256` hashes."""
    turns_json: bytes
    """The turns with their marks."""


def plain_read(line: bytes, rule: str) -> PlainChat | None:
    """Read a line of chat without anything special; None where it is anything else, or wrong.

    Such a line has one string before its turns and four in each, so 2 + 8 quotes a turn that are
    not escaped; a key that stood there twice would add some. Lines with a NUL, which is refused,
    with reasoning, which has choices, or with a quote behind an escaped backslash take the general
    way.
    """
    is_canonical = line.isascii() and b"\x7f" not in line
    escaped_quotes = 0
    if b"\\" in line:
        escapes = [piece[0] if piece else 0 for piece in line.split(b"\\")[1:]]
        if 0 in escapes and b'\\\\"' in line:
            return None
        escaped_quotes = escapes.count(b'"'[0])
        is_canonical = is_canonical and _ESCAPES.issuperset(escapes)
    try:
        turns = _RECORD.decode(line).messages
        if not is_canonical:
            for turn in turns:
                turn.content = _canonical(turn.content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    count = len(turns)
    if line.count(b'"') - escaped_quotes != 2 + 8 * count or not 0 < count <= TURNS_MAX:
        return None
    answers, last = [], b""
    for turn in turns:
        literal = bytes(turn.content)
        if literal[:1] != b'"':
            return None
        if turn.role == "assistant":
            if not (literal[1:2].isalnum() or _TEXT.decode(literal).strip()):
                return None  # it is refused, or passed over where it is not to be learnt
            if b"<think>" in literal[:_HEAD_BYTES]:
                return None
            answers.append(turn)
            last = literal
    learns_all = rule == "all"
    if not answers or turns[0] is (answers[0] if learns_all else answers[-1]):
        return None
    hashed = b'{"turns":' + _ENCODER.encode(turns) + b"}"
    for turn in answers:
        turn.train = learns_all
    answers[-1].train = True
    return PlainChat(count, len(answers), _begin(last), hashed, _ENCODER.encode(turns))


def _begin(literal: bytes) -> str:
    """The text of a literal, or at least as much of it as is counted."""
    head = literal[1:-1][:DECISION_CHARACTERS]
    text: str = _TEXT.decode(literal) if b"\\" in head else head.decode()
    return text


def _canonical(content: Raw) -> Raw:
    """Write a string as `json.dumps` does; ValidationError where it is not text, or has a NUL."""
    literal = bytes(content)
    if literal.isascii() and b"\\" not in literal and b"\x7f" not in literal:
        return content
    text = _TEXT.decode(literal)
    if "\0" in text:
        raise msgspec.ValidationError("a NUL")
    return Raw(encode_basestring_ascii(text).encode())
