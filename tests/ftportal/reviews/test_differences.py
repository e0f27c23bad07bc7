"""Which words of two answers differ: against what was changed by hand, and against an oracle."""

import re
import time
from difflib import SequenceMatcher
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftportal.reviews.judging.differences import (
    COMPARED_MAX_WORDS,
    _longest_common,
    differences,
)

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30)


def marks(html: str) -> list[str]:
    return [unescape(one) for one in re.findall(r"<mark[^>]*>([^<]*)</mark>", html)]


@pytest.mark.parametrize(
    ("left", "right", "in_left", "in_right"),
    [
        ("The sea is blue.", "The sea is green.", ["blue."], ["green."]),
        ("one two three", "one two three four", [], ["four"]),
        ("a b c d e f", "a b c x d e f", [], ["x"]),
        ("all of it", "something else", ["all of it"], ["something else"]),
        ("<b>old</b> word", "<i>new</i> word", ["<b>old</b>"], ["<i>new</i>"]),
        ("same\n\n  text", "same text", [], []),
        ("", "words", [], ["words"]),
    ],
)
def test_words_that_the_other_lacks_are_marked(
    left: str, right: str, in_left: list[str], in_right: list[str]
) -> None:
    marked = differences(left, right)
    assert marked is not None
    assert (marks(marked[0]), marks(marked[1])) == (in_left, in_right)


def test_a_word_alike_by_chance_is_no_anchor() -> None:
    marked = differences("Paris is the old capital", "Lyon was the new town")
    assert marked is not None
    assert marks(marked[0]) == ["Paris is the old capital"]


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_what_is_common_is_a_longest_common_subsequence(a: list[str], b: list[str]) -> None:
    pairs = _longest_common(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert pairs == sorted(pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, word in enumerate(a, start=1):
        for j, other in enumerate(b, start=1):
            best = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if word == other else best
    assert len(pairs) == table[-1][-1]
    blocks = SequenceMatcher(a=a, b=b, autojunk=False).get_matching_blocks()
    assert len(pairs) >= sum(block.size for block in blocks)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_is_lost_and_nothing_is_html(left: str, right: str) -> None:
    marked = differences(left, right)
    assert marked is not None
    for text, html in zip((left, right), marked, strict=True):
        bare = html.replace('<mark class="differs">', "").replace("</mark>", "")
        assert "<" not in bare
        assert unescape(bare) == unescape(text.replace("&", "&amp;").replace("<", "&lt;"))


@pytest.mark.parametrize("other", ["a", "b", "a b"])
def test_the_longest_answers_that_are_compared_take_less_than_a_second(other: str) -> None:
    left = ["a", "b"] * (COMPARED_MAX_WORDS // 2)
    right = ["b", *other.split() * COMPARED_MAX_WORDS][:COMPARED_MAX_WORDS]
    begin = time.process_time()
    assert differences(" ".join(left), " ".join(right)) is not None
    assert time.process_time() - begin < 1
    assert differences("a " * (COMPARED_MAX_WORDS + 1), "b") is None
