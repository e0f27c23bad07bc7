"""Code with its language's words in colour, by classes: the look stands in the stylesheet."""

import re
from functools import cache

from django.utils.html import escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name

HIGHLIGHTED_MAX_CHARACTERS = 10_000
"""Longer code is shown without colours."""
_RUNAWAY = re.compile(r"[^\n]{400}|(?:[^\S\n]*\n){12}")
"""Lines without an end and runs of empty ones, where grammars take the square of the time."""
LANGUAGES = frozenset(
    {
        *("bash", "sh", "shell", "zsh", "powershell", "dockerfile", "sql", "diff"),
        *("python", "python3", "py", "r", "ruby", "rb", "perl", "php", "lua"),
        *("c", "c++", "cpp", "go", "golang", "rust", "rs", "swift", "kotlin", "scala", "haskell"),
        *("javascript", "js", "jsx", "typescript", "ts", "tsx", "html", "css", "xml"),
        *("json", "yaml", "yml", "toml", "ini"),
    }
)
"""Languages whose grammars were timed on hostile input, for a model may write anything; those of
Java and C# need seconds for a page of single letters."""
_FORMATTER = HtmlFormatter(nowrap=True, classprefix="hl-")


def code_html(content: str, info: str) -> str:
    """Return a block of code as HTML; `info` is what stands behind the fence, a language first."""
    name = (info.split() or [""])[0][:40]
    if name.lower() in LANGUAGES and _may_be_highlighted(content):
        inner = highlight(content, _lexer(name.lower()), _FORMATTER)
    else:
        inner = escape(content)
    label = f'<div class="code-language">{escape(name)}</div>' if name else ""
    return f'<div class="code-block">{label}<pre class="code"><code>{inner}</code></pre></div>\n'


def _may_be_highlighted(content: str) -> bool:
    return len(content) <= HIGHLIGHTED_MAX_CHARACTERS and not _RUNAWAY.search(content)


@cache
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)
