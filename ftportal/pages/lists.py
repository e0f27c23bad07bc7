"""What addresses ask for, so that they can be shared: rows by key, lists sorted and paged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a sorted list."""

    page: Page
    sort: str
    rows: Sequence[Any] | None = None
    """The page's rows, where `page` has no more than their keys."""

    @property
    def object_list(self) -> Any:
        """The page's rows."""
        return self.page.object_list if self.rows is None else self.rows

    @property
    def count(self) -> int:
        """Rows on all pages."""
        return self.page.paginator.count


def whole_of(text: str) -> int | None:
    """The whole number that a text of an address or a form is; None for anything else.

    Nineteen digits are none: no database keeps them, and Python itself refuses thousands.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


key_of = whole_of
"""The primary key that a text names; None where it can be none."""


SEARCH_CHARACTERS = 1000
"""What lists are searched for is cut here: SQLite refuses patterns of more than 50,000 bytes."""


def text_of(request: HttpRequest, name: str) -> str:
    """The text that an address asks a list for, without space around it."""
    return request.GET.get(name, "")[:SEARCH_CHARACTERS].strip()


def is_fragment(request: HttpRequest) -> bool:
    """Whether HTMX asks for a part of the page; going back in the history needs the whole one."""
    htmx = HtmxDetails(request)
    return bool(htmx) and not htmx.history_restore_request


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    sort: Mapping[str, str],
    default: str,
    per_page: int = 25,
    shown: QuerySet[Any] | None = None,
) -> ListPage:
    """The page of `rows` that the address's `page` and `sort` ask for.

    `sort` maps the keys that an address may name to the fields they order by; an unknown key or
    page falls back to `default` and to the nearest page. Rows that are alike go by their keys, in
    the same direction, so one index serves both orders. Keys are paged first and rows are read for
    one page alone: what a row shows beside its sorted field costs nothing on the other pages. They
    are read from `shown` where it is given: the same rows without filters, which a database might
    otherwise look through all over again.
    """
    wanted = request.GET.get("sort", default)
    if wanted.removeprefix("-") not in sort:
        wanted = default
    sign = "-" if wanted.startswith("-") else ""
    ordered = rows.order_by(f"{sign}{sort[wanted.removeprefix('-')]}", f"{sign}pk")
    page = Paginator(ordered.values_list("pk", flat=True), per_page).get_page(
        request.GET.get("page")
    )
    source = rows if shown is None else shown
    by_key = {row.pk: row for row in source.filter(pk__in=list(page.object_list)).order_by()}
    read = [by_key[key] for key in page.object_list if key in by_key]
    return ListPage(page=page, sort=wanted, rows=read)
