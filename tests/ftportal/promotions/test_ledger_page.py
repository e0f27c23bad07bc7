"""The ledger's page: who was champion when, filters, exports, and a bounded number of queries."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ftportal.checkpoints.models import LanguageModel
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.selectors import champions_as_of
from tests.ftportal.house import checkpoint_make, model_make, verdict_make

PAGE = "/promotions/ledger/"
SPRING = datetime(2026, 4, 1, 12, tzinfo=UTC)


def append(model: LanguageModel, action: str, to: Any, actor: Any, reason: str) -> None:
    with transaction.atomic():
        ledger_append(
            language_model=model,
            action=PromotionAction(action),
            to=to,
            actor=actor,
            reason=reason,
            evidence={"gates": []},
        )


@pytest.fixture
def spring(cast: SimpleNamespace, data_dir: Path, monkeypatch: Any) -> SimpleNamespace:
    """Two models. Small: registered on 1 April, First on the 2nd, Second on the 3rd, First again
    on the 4th. Other: registered on 1 April."""

    def on(day: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: SPRING + timedelta(days=day - 1))

    on(1)
    small, other = model_make("Small"), model_make("Other")
    first = checkpoint_make(small, "First", small.pretrained)
    second = checkpoint_make(small, "Second", first)
    for day, action, to, actor, reason in (
        (2, "promote", first, cast.leo, "keeps what it knew"),
        (3, "promote", second, cast.ada, "=better prose"),
        (4, "rollback", first, cast.leo, "users complain"),
    ):
        on(day)
        append(small, action, to, actor, reason)
    monkeypatch.undo()
    return SimpleNamespace(small=small, other=other, first=first, second=second)


@pytest.mark.parametrize(
    ("at", "small", "number"),
    [
        (SPRING - timedelta(seconds=1), "Small, pre-trained", None),
        (SPRING, "Small, pre-trained", 1),
        (SPRING + timedelta(hours=23), "Small, pre-trained", 1),
        (SPRING + timedelta(days=1), "First", 2),
        (SPRING + timedelta(days=2, hours=1), "Second", 3),
        (SPRING + timedelta(days=300), "First", 4),
    ],
)
def test_who_was_champion_when(
    spring: SimpleNamespace, at: datetime, small: str, number: int | None
) -> None:
    then = {one.language_model.name: one for one in champions_as_of(at)}
    assert then["Small"].checkpoint.name == small
    assert (then["Small"].event.number if then["Small"].event else None) == number
    assert then["Other"].checkpoint.name == "Other, pre-trained"


def test_the_page_answers_it_by_its_address(
    spring: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    page = client_of(cast.otto).get(PAGE, {"at": "2026-04-03T14:00"})
    body = page.content.decode()
    answer = body[body.index('id="as-of-moment"') : body.index("</table>")]
    assert page.status_code == 200
    for words in (
        "3 April 2026, 14:00",
        "Second",
        "Promoted, entry 3",
        "3 April 2026, 12:00",
        "Ada",
        "=better prose",
    ):
        assert words in answer
    assert "Other, pre-trained" in answer
    before = client_of(cast.otto).get(PAGE, {"at": "2026-03-01 09:00"}).content.decode()
    assert before.count("its ledger had no entry yet") == 2


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2999-01-01T00:00", "lies in the future"),
        ("the third of May", "is not a date with a time"),
        ("2026-02-30T10:00", "is not a date with a time"),
        ("9" * 5000, "is not a date with a time"),
    ],
)
def test_a_moment_that_cannot_be_is_an_error_on_its_field(
    spring: SimpleNamespace, cast: SimpleNamespace, client_of: Any, at: str, words: str
) -> None:
    page = client_of(cast.otto).get(PAGE, {"at": at})
    body = page.content.decode()
    assert page.status_code == 422
    assert words in body and 'aria-invalid="true"' in body
    assert "Champions on" not in body and "users complain" in body  # the entries stay


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, ["4", "3", "2", "1", "1"]),
        ({"model": "Small"}, ["4", "3", "2", "1"]),
        ({"kind": "rollback"}, ["4"]),
        ({"kind": "promote", "actor": "leo"}, ["2"]),
        ({"actor": "-"}, ["1", "1"]),
        ({"text": "KNEW"}, ["2"]),
        ({"text": "second"}, ["4", "3"]),
        ({"since": "2026-04-03"}, ["4", "3"]),
        ({"since": "2026-04-02", "until": "2026-04-03"}, ["3", "2"]),
        ({"model": "Nobody"}, []),
    ],
)
def test_filters_hold_for_the_page_and_both_exports(
    spring: SimpleNamespace,
    cast: SimpleNamespace,
    client_of: Callable[[Any], Client],
    filters: dict[str, str],
    numbers: list[str],
) -> None:
    client = client_of(cast.otto)
    page = client.get(PAGE, filters)
    assert [str(one.number) for one in page.context["listing"].object_list] == numbers
    table = client.get(PAGE, filters | {"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(content_of(table))))
    lines = content_of(client.get(PAGE, filters | {"format": "jsonl"})).splitlines()
    records = [json.loads(line) for line in lines]
    assert sorted(row["number"] for row in rows) == sorted(numbers)
    assert sorted(str(one["number"]) for one in records) == sorted(numbers)


def content_of(answer: Any) -> str:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def test_an_export_says_everything_and_runs_no_formula(
    spring: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    client, asked = client_of(cast.otto), {"text": "better", "format": "csv"}
    answer = client.get(PAGE, asked)
    assert answer["Content-Disposition"] == 'attachment; filename="ledger.csv"'
    (row,) = csv.DictReader(io.StringIO(content_of(answer)))
    event = PromotionEvent.objects.get(number=3)
    assert row == {
        "at": "2026-04-03T12:00:00+00:00",
        "model": "Small",
        "number": "3",
        "action": "promote",
        "who": "ada",
        "from": "First",
        "to": "Second",
        "reason": "'=better prose",
        "weights": spring.second.manifest_hash,
        "evidence": '{"gates": []}',
        "hash": event.hash,
        "previous_hash": event.previous_hash,
    }
    (line,) = content_of(client.get(PAGE, asked | {"format": "jsonl"})).splitlines()
    assert json.loads(line)["reason"] == "=better prose"
    assert json.loads(line)["evidence"] == {"gates": []}


def test_a_day_that_is_none_is_said_and_nothing_is_downloaded(
    spring: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    page = client_of(cast.otto).get(PAGE, {"since": "May", "format": "csv"})
    assert page.status_code == 422
    assert "“May” is not a date" in page.content.decode()


def test_it_has_pages(spring: SimpleNamespace, cast: SimpleNamespace, client_of: Any) -> None:
    for number in range(30):
        to = spring.second if number % 2 else spring.first
        append(spring.small, "promote", to, cast.leo, f"turn {number}")
    client = client_of(cast.otto)
    first = client.get(PAGE, {"text": "turn"}).content.decode()
    assert first.count('class="ledger-entry"') == 25 and "1–25 of 30" in first
    second = client.get(PAGE, {"text": "turn", "page": "2"}).content.decode()
    assert second.count('class="ledger-entry"') == 5


def test_it_is_empty_without_a_model(cast: SimpleNamespace, client_of: Any) -> None:
    body = client_of(cast.otto).get(PAGE, {"at": "2026-04-03T14:00"}).content.decode()
    assert "No entries yet" in body and "There is no language model yet" in body


@pytest.mark.slow
def test_the_queries_do_not_grow_with_entries(
    cast: SimpleNamespace, data_dir: Path, client_of: Any
) -> None:
    """Entries bring candidates with them, each with its gates."""
    model, client = model_make(), client_of(cast.leo)

    def grow(numbers: range) -> None:
        for number in numbers:
            made = checkpoint_make(model, f"Session {number}", model.pretrained)
            verdict_make(made, model.pretrained)
            append(model, "promote", made, cast.leo, "onward")

    def counts() -> dict[str, int]:
        counted = {}
        for place in (PAGE, f"{PAGE}?at=2026-04-03T14:00", "/promotions/", "/"):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(place).status_code == 200
            counted[place] = len(queries)
        return counted

    grow(range(9))  # with the first one ten
    counts()
    few = counts()
    grow(range(9, 199))
    assert PromotionEvent.objects.count() == 200
    assert counts() == few
    assert few["/promotions/"] <= 40 and few[PAGE] <= 12, few
