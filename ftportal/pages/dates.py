"""Dates and times as a person reads them: in their language, their order, and their time zone.

The request's middleware sets language and zone; without one it is the first of `styles()` in UTC.
Downloads, the ledger and engines keep ISO 8601.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.utils import dateformat, timezone
from django.utils.formats import get_format
from django.utils.translation import get_language_info, override

DEFAULT_STYLE = "en"
DEFAULT_ZONE = "UTC"
_LANGUAGES = (
    *("cs", "da", "de", "es", "fi", "fr", "hu", "it", "ja", "ko"),
    *("nb", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "zh-hans"),
)
"""Written as Django's formats of that language say."""


@dataclass(frozen=True, kw_only=True)
class DateStyle:
    """How dates are written: the language of their words, and Django's format strings."""

    title: str
    language: str
    day: str
    clock: str
    between: str = ", "

    def words(self, moment: datetime, *, clock: bool = True, seconds: bool = False) -> str:
        """A moment in its own time zone; a date alone without `clock`."""
        pattern = re.sub(r"(\W)i", r"\1i\1s", self.clock) if seconds else self.clock
        with override(self.language):
            day = dateformat.format(moment, self.day)
            return f"{day}{self.between}{dateformat.format(moment, pattern)}" if clock else day


@cache
def styles() -> Mapping[str, DateStyle]:
    """What people can choose from, by its key."""
    return dict(_styles())


def _styles() -> Iterator[tuple[str, DateStyle]]:
    english = {"language": "en"}
    yield "en", DateStyle(title="English", day="j F Y", clock="H:i", **english)
    yield "en-us", DateStyle(title="English (US)", day="F j, Y", clock="g:i A", **english)
    iso = {"day": "Y-m-d", "clock": "H:i", "between": " "}
    yield "iso", DateStyle(title="ISO 8601", **iso, **english)
    for code in _LANGUAGES:
        yield (
            code,
            DateStyle(
                title=get_language_info(code)["name_local"].capitalize(),
                language=code,
                day=get_format("DATE_FORMAT", lang=code),
                clock=get_format("TIME_FORMAT", lang=code),
            ),
        )


_chosen: ContextVar[str] = ContextVar("date_style", default=DEFAULT_STYLE)


def _style() -> DateStyle:
    return styles()[_chosen.get()]


def style_choices() -> list[tuple[str, str]]:
    """Every style: its key, its name and an example."""
    example = datetime(2026, 11, 29, 14, 5, tzinfo=UTC)
    return [(key, f"{one.title}: {one.words(example)}") for key, one in styles().items()]


def zones() -> list[str]:
    """The time zones that people can choose from, UTC first."""
    places = {name for name in available_timezones() if "/" in name and not name.startswith("Etc/")}
    return [DEFAULT_ZONE, *sorted(places)]


@contextmanager
def dates_as(style: str, zone: str) -> Iterator[None]:
    """Write dates so; what is not known is written as by default."""
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        place = ZoneInfo(DEFAULT_ZONE)
    token = _chosen.set(style if style in styles() else DEFAULT_STYLE)
    try:
        with timezone.override(place):
            yield
    finally:
        _chosen.reset(token)


def language_of_dates() -> str:
    """The language of what the functions below return, as HTML's `lang` has it."""
    return _style().language


def moment_words(moment: datetime, *, seconds: bool = False) -> str:
    """A moment as its reader writes it; with `seconds`, its time zone too."""
    local = timezone.localtime(moment)
    words = _style().words(local, seconds=seconds)
    return f"{words} {zone_words(local)}" if seconds else words


def day_words(moment: datetime) -> str:
    """The date of a moment, where its reader is."""
    return _style().words(timezone.localtime(moment), clock=False)


def zone_words(moment: datetime) -> str:
    """The time zone in which a moment is written, summer time told from winter's."""
    name = timezone.localtime(moment).tzname() or ""
    return f"UTC{name}" if name[:1] in "+-" else name
