"""Dates as each person reads them: language, order, time zone; and never in what is exported."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.accounts.services import PersonError, dates_set
from ftportal.audit.models import AuditEntry
from ftportal.pages.dates import dates_as, day_words, moment_words, style_choices, styles, zones

BASE = Path(__file__).parents[3]
SPRING = datetime(2026, 3, 1, 21, 5, 7, tzinfo=UTC)
WRITTEN = {
    "en": ("1 March 2026", "1 March 2026, 21:05", "1 March 2026, 21:05:07 UTC"),
    "en-us": ("March 1, 2026", "March 1, 2026, 9:05 PM", "March 1, 2026, 9:05:07 PM UTC"),
    "iso": ("2026-03-01", "2026-03-01 21:05", "2026-03-01 21:05:07 UTC"),
    "de": ("1. März 2026", "1. März 2026, 21:05", "1. März 2026, 21:05:07 UTC"),
    "fr": ("1 mars 2026", "1 mars 2026, 21:05", "1 mars 2026, 21:05:07 UTC"),
    "es": ("1 de marzo de 2026", "1 de marzo de 2026, 21:05", "1 de marzo de 2026, 21:05:07 UTC"),
    "fi": (
        "1. maaliskuuta 2026",
        "1. maaliskuuta 2026, 21.05",
        "1. maaliskuuta 2026, 21.05.07 UTC",
    ),
    "ja": ("2026年3月1日", "2026年3月1日, 21:05", "2026年3月1日, 21:05:07 UTC"),
}


@pytest.mark.parametrize("style", WRITTEN)
def test_each_language_in_its_own_order(style: str) -> None:
    with dates_as(style, "UTC"):
        shown = (day_words(SPRING), moment_words(SPRING), moment_words(SPRING, seconds=True))
    assert shown == WRITTEN[style]


def test_seconds_are_parted_as_the_minutes_are() -> None:
    with dates_as("fi", "UTC"):
        assert moment_words(SPRING, seconds=True) == "1. maaliskuuta 2026, 21.05.07 UTC"


def test_the_choices_are_shown_by_an_example() -> None:
    choices = dict(style_choices())
    assert choices.keys() == styles().keys()
    assert choices["de"] == "Deutsch: 29. November 2026, 14:05"
    assert choices["iso"] == "ISO 8601: 2026-11-29 14:05"


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Asia/Tokyo", "2026-03-02 06:05:07 JST"),
        ("America/New_York", "2026-03-01 16:05:07 EST"),
        ("America/Sao_Paulo", "2026-03-01 18:05:07 UTC-03"),
        ("Moon/Base", "2026-03-01 21:05:07 UTC"),
        ("../../etc/passwd", "2026-03-01 21:05:07 UTC"),
    ],
)
def test_times_are_those_of_the_readers_place(zone: str, words: str) -> None:
    with dates_as("iso", zone):
        assert moment_words(SPRING, seconds=True) == words
        assert day_words(SPRING) == words[:10]
    assert timezone.get_current_timezone_name() == "UTC"


def test_the_filters_tell_machines_the_exact_moment_and_its_language() -> None:
    with dates_as("de", "Europe/Berlin"):
        shown = Template("{{ at|moment }} {{ at|day }} {{ at|ago }}").render(
            Context({"at": SPRING})
        )
    exact = 'datetime="2026-03-01T21:05:07+00:00" title="1. März 2026, 22:05:07 CET"'
    assert f'<time {exact} lang="de">1. März 2026, 22:05</time>' in shown
    assert f'<time {exact} lang="de">1. März 2026</time>' in shown
    assert f'<time {exact} lang="en">' in shown


def test_no_template_writes_dates_by_itself() -> None:
    own_way = re.compile(r"\|\s*(date|time|timesince|timeuntil|naturaltime|naturalday)\b|{%\s*now")
    bare = re.compile(r"{{\s*[\w.]+_at\s*(\|(?!ago|moment|day)[^}]*)?}}")
    for template in (BASE / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert own_way.findall(text) == [], template
        assert bare.search(text) is None, template


@pytest.fixture
def tina(cast: SimpleNamespace) -> User:
    dates_set(person=cast.tina, date_style="de", time_zone="Europe/Berlin")
    return User.objects.get(pk=cast.tina.pk)


def test_the_change_is_in_the_audit_log_once(tina: User) -> None:
    entry = AuditEntry.objects.get(action="person.dates")
    assert entry.before == {"date_style": "en", "time_zone": "UTC"}
    assert entry.after == {"date_style": "de", "time_zone": "Europe/Berlin"}
    dates_set(person=tina, date_style="de", time_zone="Europe/Berlin")
    assert AuditEntry.objects.filter(action="person.dates").count() == 1


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"date_style": "klingon", "time_zone": "UTC"}, None),
        ({"date_style": "de", "time_zone": "Europe"}, "time_zone"),
    ],
)
def test_what_is_not_in_the_lists_is_refused(
    cast: SimpleNamespace, chosen: dict[str, str], field: str | None
) -> None:
    with pytest.raises(PersonError) as refused:
        dates_set(person=cast.tina, **chosen)
    assert refused.value.field == field
    assert User.objects.get(pk=cast.tina.pk).time_zone == "UTC"


def test_the_form_keeps_what_was_typed(
    cast: SimpleNamespace, client_of: Callable[[Any], Client]
) -> None:
    client, place = client_of(cast.otto), reverse("accounts:account_dates")
    page = client.post(place, {"date_style": "fr", "time_zone": "Europe/Pari"})
    assert page.status_code == 422
    words = page.content.decode()
    assert "There is no time zone &#x27;Europe/Pari&#x27;. Choose one from the list" in words
    assert 'value="Europe/Pari"' in words and '<option value="fr" selected>' in words
    assert '<option value="Europe/Paris"></option>' in words
    done = client.post(place, {"date_style": "fr", "time_zone": "Europe/Paris"})
    assert done.status_code == 302
    otto = User.objects.get(pk=cast.otto.pk)
    assert (otto.date_style, otto.time_zone) == ("fr", "Europe/Paris")


def test_pages_follow_and_exports_do_not(
    cast: SimpleNamespace, client_of: Callable[[Any], Client]
) -> None:
    dates_set(person=cast.ada, date_style="ja", time_zone="Asia/Tokyo")
    entry = AuditEntry.objects.get(action="person.dates")
    client, place = client_of(User.objects.get(pk=cast.ada.pk)), reverse("audit:audit")
    with dates_as("ja", "Asia/Tokyo"):
        words = moment_words(entry.at)
    assert words.endswith(f"{(entry.at.hour + 9) % 24}:{entry.at:%M}")
    assert f'lang="ja">{words}</time>' in client.get(place).content.decode()
    answer: Any = client.get(place, {"format": "jsonl", "action": "person.dates"})
    row = json.loads(b"".join(answer.streaming_content))
    assert row["at"] == entry.at.isoformat(timespec="seconds")
    assert row["at"].endswith("+00:00")


def test_days_of_the_audit_filter_begin_at_the_readers_midnight(
    cast: SimpleNamespace, client_of: Callable[[Any], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    dates_set(person=cast.ada, date_style="iso", time_zone="Asia/Tokyo")
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 3, 1, 16, tzinfo=UTC))
    dates_set(person=cast.otto, date_style="iso", time_zone="Asia/Tokyo")  # 2 March in Tokyo
    client, place = client_of(User.objects.get(pk=cast.ada.pk)), reverse("audit:audit")

    def names(day: str) -> bool:
        page = client.get(place, {"since": day, "until": day, "action": "person.dates"})
        return "Otto" in page.content.decode()

    assert (names("2026-03-01"), names("2026-03-02")) == (False, True)


def test_there_are_zones_to_choose_from() -> None:
    every = zones()
    assert every[0] == "UTC" and {"Europe/Berlin", "Asia/Tokyo"} <= set(every)
    assert len(every) == len(set(every)) > 300
