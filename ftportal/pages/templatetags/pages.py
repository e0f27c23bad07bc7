"""Template tags and filters that every page uses; they are built in, so no page loads them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.http import HttpRequest
from django.template.context import Context
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString, mark_safe

from ftportal.pages.charts import Chart
from ftportal.pages.dates import day_words, language_of_dates, moment_words
from ftportal.pages.icons import ICONS, STATES
from ftportal.pages.lists import ListPage
from ftportal.pages.markdown import LaidOut, lay_out
from training.ahead.warnings import rate_words

register = template.Library()

NOTHING = "–"
Missing = Literal[""] | None
"""What a filter is given for what is not there; a variable that does not exist is "" there."""
Number = float | Missing


@register.simple_tag
def icon(name: str) -> SafeString:
    """A line icon by its name, hidden from screen readers: a word always stands beside it."""
    drawing = mark_safe(ICONS[name])  # noqa: S308 - our own constants
    return format_html('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">{}</svg>', drawing)


@register.simple_tag
def badge(state: str, word: str = "", size: str = "") -> SafeString:
    """A state's badge: icon and word. `word` replaces the usual one; `size` may be "large"."""
    name, tone, usual = STATES.get(str(state).lower(), ("dash", "quiet", str(state).capitalize()))
    extra = " badge-large" if size == "large" else ""
    return format_html(
        '<span class="badge badge-{}{}">{} {}</span>', tone, extra, icon(name), word or usual
    )


def _time(moment: datetime, words: str, language: str) -> SafeString:
    """A moment in `words`, to the second and with its time zone on hover."""
    exact = moment_words(moment, seconds=True)
    return format_html(
        '<time datetime="{}" title="{}" lang="{}">{}</time>',
        moment.isoformat(),
        exact,
        language,
        words,
    )


@register.filter
def ago(at: datetime | Missing) -> str:
    """A time relative to now, with the exact one on hover."""
    if at is None or isinstance(at, str):
        return NOTHING
    return _time(at, naturaltime(at), "en")


@register.filter
def moment(at: datetime | Missing) -> str:
    """A date and time as its reader writes them."""
    if at is None or isinstance(at, str):
        return NOTHING
    return _time(at, moment_words(at), language_of_dates())


@register.filter
def day(at: datetime | Missing) -> str:
    """A date as its reader writes it."""
    if at is None or isinstance(at, str):
        return NOTHING
    return _time(at, day_words(at), language_of_dates())


@register.filter
def si(number: Number) -> str:
    """A count in at most four digits and a suffix: 1234567 -> 1.23 M."""
    if number is None or isinstance(number, str):
        return NOTHING
    if abs(number) >= 1e4:
        shown = float(f"{number:.3g}")  # rounded first, so that 999,999 is 1 M and not 1000 k
        for factor, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
            if abs(shown) >= factor:
                return f"{shown / factor:,.5g}{suffix}"
    return f"{number:,.0f}"


@register.filter
def fixed(number: Number, places: int = 2) -> str:
    """A number with `places` decimals; a dash for none."""
    return NOTHING if number is None or isinstance(number, str) else f"{number:,.{places}f}"


@register.filter
def arguments(given: Mapping[str, Any]) -> str:
    """Arguments of a chat template in one line: enable_thinking=false."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in given.items())


@register.filter
def signed(number: Number, places: int = 2) -> str:
    """A difference with its sign, a true minus; none for what rounds to zero; a dash for none."""
    if number is None or isinstance(number, str):
        return NOTHING
    if round(number, places) == 0:
        return f"{0:.{places}f}"
    return f"{number:+,.{places}f}".replace("-", "\N{MINUS SIGN}")


@register.filter
def percent(share: Number, places: int = 1) -> str:
    """A share of one as a percentage; a dash for none."""
    return NOTHING if share is None or isinstance(share, str) else f"{100 * share:.{places}f} %"


@register.filter
def rate(number: Number) -> str:
    """A learning rate as people write it: 1e-5, 3e-4."""
    if number is None or isinstance(number, str):
        return NOTHING
    return rate_words(number)


@register.filter
def duration(seconds: Number) -> str:
    """Seconds in words: 2 min 10 s."""
    if seconds is None or isinstance(seconds, str):
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def markdown(text: str) -> LaidOut:
    """What a model or a person wrote, laid out and harmless; for `pages/_laid_out.html`."""
    return lay_out(text)


@register.filter
def lookup(mapping: dict[Any, Any], key: Any) -> Any:
    """`mapping[key]`, or None."""
    return mapping.get(key)


@register.inclusion_tag("pages/_chart.html")
def chart(chart: Chart) -> dict[str, Any]:
    """A chart with the table behind it; its page must load `chart_scripts`."""
    item = mark_safe(json_script(chart.item, chart.element_id))  # noqa: S308 - json_script escapes
    return {"chart": chart, "item": item}


@register.inclusion_tag("pages/_chart_scripts.html")
def chart_scripts() -> dict[str, Any]:
    """The scripts a page with charts puts into its block `scripts`."""
    return {}


@register.inclusion_tag("pages/_pager.html", takes_context=True)
def pager(context: Context, listing: ListPage) -> dict[str, Any]:
    """Links to the pages of a list, keeping the address's other parameters."""
    return {"listing": listing, "request": context["request"]}


@register.simple_tag(takes_context=True)
def query_replace(context: Context, **changes: Any) -> str:
    """The page's query string with `changes`; a value of None or "" drops the parameter."""
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value not in (None, ""):
            query[name] = str(value)
    return "?" + query.urlencode()


@register.inclusion_tag("pages/_sort_header.html", takes_context=True)
def sort_header(
    context: Context, listing: ListPage, key: str, title: str, numeric: bool = False
) -> dict[str, Any]:
    """A table header that sorts by `key`, and the other way round when clicked again."""
    descending = listing.sort == f"-{key}"
    ascending = listing.sort == key
    wanted = f"-{key}" if ascending else key
    return {
        "href": query_replace(context, sort=wanted, page=None),
        "title": title,
        "numeric": numeric,
        "direction": "down" if descending else "up" if ascending else "",
    }
