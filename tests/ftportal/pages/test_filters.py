"""Numbers, times and states in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import timezone

from ftportal.pages.icons import ICONS, STATES
from ftportal.pages.templatetags import pages


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"),
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10 k"),
        (123_456, "123 k"),
        (999_999, "1 M"),
        (1_234_567, "1.23 M"),
        (135_000_000, "135 M"),
        (2.7e10, "27 G"),
        (-45_678, "-45.7 k"),
    ],
)
def test_si(number: float | None, words: str) -> None:
    assert pages.si(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "–"), (0.0, "0.0"), (0.04, "0.0"), (-0.04, "0.0"), (1.25, "+1.2"), (-1.27, "−1.3")],
)
def test_signed_has_a_true_minus_and_none_for_zero(number: float | None, words: str) -> None:
    assert pages.signed(number, 1) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "–"), (1e-5, "1e-5"), (3e-4, "3e-4"), (2.5e-5, "2.5e-5"), (0.01, "1e-2"), (1.0, "1e0")],
)
def test_rate(number: float | None, words: str) -> None:
    assert pages.rate(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (130, "2 min 10 s"),
        (660, "11 min"),
        (3600, "1 h"),
        (5430, "1 h 30 min"),
    ],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert pages.duration(seconds) == words


def test_fixed_and_percent() -> None:
    assert pages.fixed(1234.5, 1) == "1,234.5"
    assert pages.fixed(None) == "–"
    assert pages.percent(0.255) == "25.5 %"
    assert pages.percent(None) == "–"


@pytest.mark.parametrize(
    "name", ["si", "fixed", "signed", "percent", "rate", "duration", "ago", "fixed:1", "signed:1"]
)
@pytest.mark.parametrize("context", [{}, {"number": None}])
def test_what_is_missing_is_a_dash(name: str, context: dict[str, Any]) -> None:
    assert Template(f"{{{{ number|{name} }}}}").render(Context(context)) == "–"


def test_ago_is_relative_with_the_exact_time_on_hover() -> None:
    moment = timezone.now() - timedelta(minutes=5)
    words = pages.ago(moment)
    assert "5\xa0minutes ago" in words
    assert f'title="{moment.astimezone(UTC):%-d %B %Y, %H:%M:%S} UTC"' in words
    assert pages.ago(None) == "–"


def test_ago_escapes_nothing_away() -> None:
    assert pages.ago(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)).startswith("<time datetime=")


@pytest.mark.parametrize("state", sorted(STATES))
def test_every_state_has_a_word_and_an_icon(state: str) -> None:
    icon, tone, word = STATES[state]
    assert icon in ICONS
    assert tone in ("good", "bad", "warn", "live", "quiet")
    badge = pages.badge(state)
    assert word in badge
    assert "<svg" in badge
    assert f"badge-{tone}" in badge


def test_a_badge_takes_another_word_and_knows_no_markup() -> None:
    assert "In review, 3 of 12" in pages.badge("open", "In review, 3 of 12")
    assert "&lt;b&gt;" in pages.badge("open", "<b>")
    assert "Something new" in pages.badge("something new")


def test_query_replace_keeps_the_rest(rf: object) -> None:
    request = rf.get("/list/?state=failed&page=3&tag=a&tag=b")  # type: ignore[attr-defined]
    template = Template("{% query_replace page=None sort='-name' %}")
    address = template.render(Context({"request": request}, autoescape=False))
    assert address == "?state=failed&tag=a&tag=b&sort=-name"
