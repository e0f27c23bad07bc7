"""Held-out text from the running Python: enough of it, readable, always the same."""

import ast
import hashlib
import re

import pytest

from evaluation.suites.heldout import (
    LONGEST_CHARACTERS,
    SHORTEST_CHARACTERS,
    python_documentation_documents,
    python_source_documents,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("made", [python_documentation_documents, python_source_documents])
def test_documents_are_many_moderate_different_and_always_the_same(made: object) -> None:
    assert callable(made)
    documents = made()
    assert 32 <= len(documents) <= 48
    assert documents == made() and documents[:5] == made(5)
    assert len({one["sha256"] for one in documents}) == len(documents)
    for one in documents:
        assert SHORTEST_CHARACTERS <= len(one["text"]) <= LONGEST_CHARACTERS
        assert one["sha256"] == hashlib.sha256(one["text"].encode()).hexdigest()


def test_source_is_code_and_documentation_is_not() -> None:
    code = re.compile(r"^\s*(import |from \S+ import |def |class |[A-Za-z_]+ = )", re.MULTILINE)
    source = [bool(code.search(one["text"])) for one in python_source_documents()]
    prose = [bool(code.search(one["text"])) for one in python_documentation_documents()]
    assert sum(source) >= 0.9 * len(source)
    assert sum(source) > sum(prose)


def test_documentation_reads_as_text() -> None:
    for one in python_documentation_documents():
        with pytest.raises(SyntaxError):
            ast.parse(one["text"])
