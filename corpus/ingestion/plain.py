"""The fast way for plain chat lines: role and content, nothing else.

Most lines of most files are of this kind, and the general reader takes ten times as long. Whatever
is not certainly plain, and whatever is wrong, is left to it: see `plain_read`.
"""

import re
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Literal, NamedTuple

import msgspec

from corpus.formats import TURNS_MAX

_Role = Literal["system", "user", "assistant"]


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: _Role
    content: str


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[_Message]


class _RawMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: _Role
    content: msgspec.Raw
    """The literal as it stands in the line; strings in it are checked, encodings are not."""


class _RawRecord(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[_RawMessage]


_ODD_ESCAPE = re.compile(rb'\\[^nrt"]')
_HEAD_BYTES = 64
_DECODER = msgspec.json.Decoder(_Record)
_RAW_DECODER = msgspec.json.Decoder(_RawRecord)
_ROLE_ENDS = {role: b',"role":"%s"}' % role.encode() for role in ("system", "user", "assistant")}
_TRAIN_ENDS = {True: b',"train":true}', False: b',"train":false}'}


class PlainChat(NamedTuple):
    """One plain line: the parts of its canonical form, and what is counted of it."""

    turn_count: int
    answer_count: int
    last: str
    """The last answer."""
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
    escapes = b"\\" in line
    is_raw = line.isascii() and b"\x7f" not in line
    if escapes and _ODD_ESCAPE.search(line):
        if b"\\u0000" in line or b'\\\\"' in line:
            return None
        is_raw = is_raw and not (b"\\u" in line or b"\\/" in line)
    messages: Any  # of either record
    try:
        messages = (_RAW_DECODER if is_raw else _DECODER).decode(line).messages
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    count = len(messages)
    if not 0 < count <= TURNS_MAX:
        return None
    quotes = line.count(b'"') - (line.count(b'\\"') if escapes else 0)
    if quotes != 2 + 8 * count:
        return None
    if is_raw:
        literals = [bytes(message.content) for message in messages]
        if not all(literal.startswith(b'"') for literal in literals):
            return None
    else:
        literals = [encode_basestring_ascii(message.content).encode() for message in messages]
    roles = [message.role for message in messages]
    answers = [at for at, role in enumerate(roles) if role == "assistant"]
    chosen = answers if rule == "all" else answers[-1:]
    if not chosen or chosen[0] == 0 or any(_may_be_blank(messages[at].content) for at in answers):
        return None
    if any(b"<think>" in literals[at][:_HEAD_BYTES] for at in answers):
        return None
    return _plain(literals, roles, answers, frozenset(chosen))


def _may_be_blank(content: Any) -> bool:
    """Whether an answer may be nothing but white space, which is refused."""
    if isinstance(content, str):
        return not content[:_HEAD_BYTES].strip()
    return not bytes(content)[:_HEAD_BYTES].strip(b'"\\ nrtf')


def _plain(
    literals: Sequence[bytes], roles: Sequence[str], answers: Sequence[int], chosen: frozenset[int]
) -> PlainChat:
    """Put a line's canonical form together."""
    pieces = [
        b'{"content":' + literal + _ROLE_ENDS[role]
        for literal, role in zip(literals, roles, strict=True)
    ]
    hashed = b'{"turns":[' + b",".join(pieces) + b"]}"
    for at in answers:
        pieces[at] = pieces[at][:-1] + _TRAIN_ENDS[at in chosen]
    last: str = msgspec.json.decode(literals[answers[-1]])
    return PlainChat(len(pieces), len(answers), last, hashed, b"[" + b",".join(pieces) + b"]")
