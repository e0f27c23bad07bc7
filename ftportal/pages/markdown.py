"""What models and people wrote, as Markdown: laid out, folded, and never trusted.

Nothing in it can act: HTML is shown as text, links are not clickable and show where they lead,
images are their description and address, so that no request ever leaves a page. What would take too
long to lay out, or cannot be laid out whole, is shown as it was written.
"""

import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from ftportal.pages.code import code_html
from ftportal.pages.words import count_words, cut_at_words

LAID_OUT_MAX_CHARACTERS = 20_000
"""Longer texts are shown as written: laying them out would take more than a moment."""
FOLD_WORDS = 180
"""About how many words stand above the fold."""
FOLD_LEAST_WORDS = 40
"""What is shorter than this is not worth a fold."""
_NESTING_MAX = 20
"""The parser leaves out what is nested as deeply as this."""

_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("table", "thead", "tbody", "tr", "th", "td", "div", "span"),
}
_ATTRIBUTES = {name: {"class"} for name in ("div", "span", "pre", "code", "th", "td")}
_ATTRIBUTES["ol"] = {"start"}


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """A text as HTML, in the part above the fold and the rest."""

    head: SafeString
    rest: SafeString
    rest_words: int
    rest_characters: int
    as_written: str
    """Why it is shown as it was written and not laid out; empty where it is laid out."""

    @property
    def more(self) -> str:
        """What the fold hides: 340 more words, or characters where there are hardly any words."""
        if self.rest_words * 20 < self.rest_characters:
            return f"{self.rest_characters:,} more characters"
        return f"{self.rest_words:,} more words"


def lay_out(text: str) -> LaidOut:
    """Return Markdown as safe HTML, folded where it is long."""
    if len(text) > LAID_OUT_MAX_CHARACTERS:
        return written(text, why="too long to be laid out")
    text = re.sub(r"\r\n?", "\n", text)  # as the parser reads lines
    environment: dict[str, Any] = {}
    tokens = _PARSER.parse(text, environment)
    if any(token.level >= _NESTING_MAX - 1 for token in tokens):  # the parser has left out more
        return written(text, why="nested too deeply to be laid out")
    lines = text.split("\n")
    head, rest, line = _folded(tokens, lines)
    hidden = "\n".join(lines[line:]) if rest else ""
    return LaidOut(
        head=_html(head, environment),
        rest=_html(rest, environment),
        rest_words=count_words(hidden),
        rest_characters=len(hidden),
        as_written="",
    )


def written(text: str, *, why: str = "as it was written") -> LaidOut:
    """Return a text character by character as it was written, folded where it is long."""
    head, rest = cut_at_words(text, FOLD_WORDS)
    words = count_words(rest)
    if words < FOLD_LEAST_WORDS and len(rest) < 20 * FOLD_LEAST_WORDS:
        head, rest, words = text, "", 0
    return LaidOut(
        head=escape(head),
        rest=escape(rest),
        rest_words=words,
        rest_characters=len(rest),
        as_written=why,
    )


def _html(tokens: Sequence[Token], environment: MutableMapping[str, Any]) -> SafeString:
    made = _PARSER.renderer.render(tokens, _PARSER.options, environment)
    # The second lock: the parser lets no HTML through, and this would not either.
    clean = nh3.clean(made, tags=_TAGS, attributes=_ATTRIBUTES, link_rel=None)
    return mark_safe(clean)  # noqa: S308 - just cleaned


# --- the fold: between blocks, between the items of a list, between the lines of code ------------


def _folded(tokens: list[Token], lines: list[str]) -> tuple[list[Token], list[Token], int]:
    """What stands above the fold, the rest, and the line at which that begins."""
    before = [0]  # words above each line
    for text in lines:
        before.append(before[-1] + count_words(text))
    total = before[-1]
    if total <= FOLD_WORDS + FOLD_LEAST_WORDS:
        return tokens, [], 0
    places = [
        (index, token.map[0])
        for index, token in enumerate(tokens)
        if token.map and _may_begin_below(token) and before[token.map[0]]
    ]
    fitting = [place for place in places if before[place[1]] <= FOLD_WORDS]
    code = _long_code(tokens, fitting[-1][0] if fitting else 0, before)
    if code is not None:
        return code
    for index, line in (*fitting[-1:], *places[len(fitting) :]):
        # A heading alone, or one line before a long list, is no beginning of an answer.
        if before[line] >= FOLD_LEAST_WORDS and total - before[line] >= FOLD_LEAST_WORDS:
            return *_cut(tokens, index), line
    return tokens, [], 0


def _may_begin_below(token: Token) -> bool:
    if token.nesting < 0:
        return False
    return token.level == 0 or (token.level == 1 and token.type == "list_item_open")


def _cut(tokens: list[Token], index: int) -> tuple[list[Token], list[Token]]:
    """Part the tokens before `index`; a list that is cut goes on below with its next number."""
    head, rest = tokens[:index], tokens[index:]
    if rest[0].level == 0:
        return head, rest
    begin = max(index for index, token in enumerate(head) if token.level == 0)
    opening = head[begin]
    closing = next(token for token in rest if token.level == 0)
    again = Token(opening.type, opening.tag, 1, map=opening.map, block=True)
    if opening.tag == "ol":
        above = sum(token.type == "list_item_open" and token.level == 1 for token in head[begin:])
        first = opening.attrGet("start")
        again.attrSet("start", str((1 if first is None else int(first)) + above))
    return [*head, closing], [again, *rest]


def _long_code(
    tokens: list[Token], begin: int, before: list[int]
) -> tuple[list[Token], list[Token], int] | None:
    """The cut inside a block of code that passes the fold by itself; None where none does."""
    for index, token in enumerate(tokens[begin:], start=begin):
        if token.level or not token.map or before[token.map[0]] > FOLD_WORDS:
            continue
        if token.type not in ("fence", "code_block") or before[token.map[1]] <= FOLD_WORDS:
            continue
        first = token.map[0] + (token.type == "fence")
        cut = next(n for n in range(first, token.map[1] + 1) if before[n] > FOLD_WORDS) - 1
        content = token.content.split("\n")
        if cut - first < 3 or before[-1] - before[cut] < FOLD_LEAST_WORDS:
            return None
        parts = []
        for part in (content[: cut - first], content[cut - first :]):
            half = Token(token.type, token.tag, 0, content="\n".join(part), info=token.info)
            parts.append(half)
        return [*tokens[:index], parts[0]], [parts[1], *tokens[index + 1 :]], cut
    return None


# --- how Markdown becomes HTML --------------------------------------------------------------------


def _links_disarm(state: StateCore) -> None:
    """Write every link's address behind its text, and take the link away."""
    for token in state.tokens:
        if token.children:
            token.children = _disarmed(token.children)
        align = re.fullmatch(r"text-align:(left|center|right)", str(token.attrGet("style") or ""))
        if align:  # the CSP allows no style attributes
            token.attrs = {"class": f"align-{align.group(1)}"}


def _disarmed(children: Sequence[Token]) -> list[Token]:
    kept: list[Token] = []
    targets: list[Token] = []
    for child in children:
        if child.type == "link_open":
            targets.append(child)
        elif child.type == "link_close":
            opening = targets.pop()
            if opening.markup != "autolink":
                kept.append(_address(opening.attrGet("href"), opening.attrGet("title")))
        elif child.type == "image":
            kept.append(Token("text", "", 0, content=f"[image: {child.content}]"))
            kept.append(_address(child.attrGet("src"), child.attrGet("title")))
        else:
            kept.append(child)
    return kept


def _address(target: Any, title: Any) -> Token:
    words = f"{target}, “{title}”" if title else str(target)
    return Token("address", "", 0, content=words)


class _Renderer(RendererHTML):
    """HTML that keeps to the page's own outline and classes."""

    def address(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """Where a link or an image points to."""
        return f' <span class="address">({escape(tokens[idx].content)})</span>'

    def heading_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """A heading by its looks alone: an answer must not break up the page's outline."""
        return f'<div class="prose-heading prose-{tokens[idx].tag}">'

    def heading_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """The end of a heading."""
        return "</div>\n"

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """Code between fences, which may name its language."""
        return code_html(tokens[idx].content, tokens[idx].info)

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """Code by its indentation."""
        return code_html(tokens[idx].content, "")


def _parser() -> MarkdownIt:
    settings = {"html": False, "maxNesting": _NESTING_MAX}
    parser = MarkdownIt("commonmark", settings, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    # Any address may stand as text; the parser's own check would hide what a link tried.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    parser.core.ruler.push("links_disarm", _links_disarm)
    return parser


_PARSER = _parser()
