"""The fast way for plain chat lines: role and content, nothing else.

Most lines of most files are of this kind, and the general reader takes ten times as long. Whatever
is not certainly plain, and whatever is wrong, is left to it: see `plain_read`.
"""

from json.encoder import encode_basestring_ascii
from typing import Literal

import msgspec

from corpus.formats import TURNS_MAX


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[_Message]


_DECODER = msgspec.json.Decoder(_Record)
_CAREFUL = (b"\\u0000", b"<think>", b'\\\\"')
"""A NUL is refused, reasoning has choices, and after a backslash that is escaped a quote is not:
lines with any of these take the general way."""


class PlainChat:
    """One plain line: its turns, and the parts of its canonical form."""

    __slots__ = ("decisions", "hashed", "last", "roles", "turns_json")

    def __init__(self, messages: list[_Message], decisions: frozenset[int]) -> None:
        self.roles = [message.role for message in messages]
        self.decisions = decisions
        self.last = next(m.content for m in reversed(messages) if m.role == "assistant")
        contents = [encode_basestring_ascii(message.content) for message in messages]
        pairs = list(zip(contents, self.roles, strict=True))
        hashed = ",".join([f'{{"content":{text},"role":"{role}"}}' for text, role in pairs])
        self.hashed = f'{{"turns":[{hashed}]}}'
        """What `Example.sha256` hashes."""
        turns = [
            f'{{"role":"{role}","content":{text}}}'
            if role != "assistant"
            else f'{{"role":"{role}","content":{text},"train":{_BOOLEANS[at in decisions]}}}'
            for at, (text, role) in enumerate(pairs)
        ]
        self.turns_json = f"[{','.join(turns)}]"


_BOOLEANS = {False: "false", True: "true"}


def plain_read(line: bytes, rule: str) -> PlainChat | None:
    """Read a line of chat without anything special; None where it is anything else, or wrong.

    Such a line has one string before its turns and four in each, so 2 + 8 quotes a turn that are
    not escaped; a key that stood there twice would add some.
    """
    try:
        messages = _DECODER.decode(line).messages
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    count = len(messages)
    if (
        not count
        or count > TURNS_MAX
        or line.count(b'"') - line.count(b'\\"') != 2 + 8 * count
        or any(sign in line for sign in _CAREFUL)
    ):
        return None
    assistant = [at for at, message in enumerate(messages) if message.role == "assistant"]
    chosen = assistant if rule == "all" else assistant[-1:]
    if not chosen or 0 in chosen or not all(messages[at].content.strip() for at in chosen):
        return None
    return PlainChat(messages, frozenset(chosen))
