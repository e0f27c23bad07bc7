"""Held-out text that every Python installation carries: its documentation and its source.

Real prose and real code with nothing to download. The lists depend on the Python version and on
nothing else. No torch here.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import TypedDict

SHORTEST_CHARACTERS = 1_200
LONGEST_CHARACTERS = 4_000
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "encodings", "site-packages", "turtledemo"}
LEFT_OUT |= {"__pycache__", "pydoc_data", "ensurepip", "msilib", "distutils", "dist-packages"}
"""Directories of test data, tables, duplicated copies and packages that are not Python's own."""


class HeldOutDocument(TypedDict):
    """One document: its text and the SHA-256 of its UTF-8 bytes."""

    text: str
    sha256: str


def python_documentation_documents(count: int = 48) -> list[HeldOutDocument]:
    """Return prose: topics of Python's own language reference, of moderate length."""
    return _chosen((_cut(text.strip()) for text in topics.values()), count)


def python_source_documents(count: int = 48) -> list[HeldOutDocument]:
    """Return code: beginnings of modules of Python's standard library, of moderate length."""
    return _chosen(_source_texts(), count)


def _source_texts() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if LEFT_OUT.intersection(parts) or path.name.startswith(("_sysconfigdata", "test_")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # not readable as text, so not a document
            continue
        yield _cut(text.strip())


def _cut(text: str) -> str:
    """The beginning of a text, up to the last line that ends within the longest length."""
    if len(text) <= LONGEST_CHARACTERS:
        return text
    return text[:LONGEST_CHARACTERS].rpartition("\n")[0]


def _chosen(texts: Iterable[str], count: int) -> list[HeldOutDocument]:
    """The first `count` long enough and readable texts in the order of their hashes, each once.

    The order by hash mixes subjects, so that a beginning of the list is already a fair sample.
    """
    by_hash = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts if _readable(text)}
    return [{"text": by_hash[key], "sha256": key} for key in sorted(by_hash)[:count]]


def _readable(text: str) -> bool:
    """Long enough, and mostly words: tables of numbers and escapes teach nothing about a model."""
    if len(text) < SHORTEST_CHARACTERS:
        return False
    wordlike = sum(character.isalpha() or character.isspace() for character in text)
    return wordlike / len(text) > 0.7
