"""Counting words, in texts with blanks between them and in scripts without."""

import re

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
"""A character of Chinese, Japanese or Korean, or a run of anything else without a blank."""
CHARACTERS_A_WORD = 12
"""What is longer on average is hardly words; it is measured by its characters."""


def count_words(text: str) -> int:
    """How many words a text has."""
    return sum(1 for _ in _WORD.finditer(text))


def cut_at_words(text: str, words: int) -> tuple[str, str]:
    """Part a text behind so many words, or behind what they would take in characters."""
    limit = words * CHARACTERS_A_WORD
    for number, word in enumerate(_WORD.finditer(text), start=1):
        if word.end() > limit:
            end = word.start() if word.start() > limit // 2 else limit
            return text[:end], text[end:]
        if number == words:
            return text[: word.end()], text[word.end() :]
    return text, ""
