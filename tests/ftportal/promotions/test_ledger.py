"""The ledger's hash chain: what it is made of, and that every kind of tampering is found."""

import hashlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from ftportal.checkpoints.services import alias_set
from ftportal.promotions.ledger import ledger_check, ledger_open
from ftportal.promotions.models import LedgerIsAppendOnlyError, PromotionEvent
from ftportal.promotions.services import promote, rollback

TABLE = PromotionEvent._meta.db_table


def sql(statement: str, *values: Any) -> None:
    """Change the table behind the back of the models, as an intruder would."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def three(ready: SimpleNamespace, cast: Any) -> SimpleNamespace:
    """A ledger of three entries: first champion, promotion, rollback."""
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    rollback(language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="back")
    return ready


def test_the_hash_is_that_of_the_canonical_json(three: SimpleNamespace, cast: Any) -> None:
    event = PromotionEvent.objects.get(number=2)
    content = {
        "language_model": three.model.pk,
        "number": 2,
        "action": "promote",
        "actor": cast.leo.pk,
        "from": three.baseline.manifest_hash,
        "to": three.candidate.manifest_hash,
        "reason": "now",
        "evidence": event.evidence,
        "created_at": event.created_at.isoformat(timespec="microseconds"),
        "previous_hash": PromotionEvent.objects.get(number=1).hash,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert event.hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_chain_is_intact(three: SimpleNamespace) -> None:
    check = ledger_check(three.model)
    assert check.intact
    assert check.entry_count == 3


def _shift(column: str, value: Any) -> Callable[[], None]:
    return lambda: sql(f"UPDATE {TABLE} SET {column} = %s WHERE number = 2", value)  # noqa: S608


@pytest.mark.parametrize(
    "change",
    [
        _shift("reason", "another reason"),
        _shift("action", "rollback"),
        _shift("evidence", "{}"),
        _shift("actor_id", None),
        _shift("created_at", "2020-01-01 00:00:00"),
        _shift("previous_hash", "0" * 64),
        _shift("hash", "0" * 64),
        _shift("number", 7),
    ],
)
def test_a_changed_entry_is_named(three: SimpleNamespace, change: Callable[[], None]) -> None:
    change()
    check = ledger_check(three.model)
    assert not check.intact
    assert check.broken_number in (2, 3)
    assert check.problem


def test_another_checkpoint_in_an_entry_is_named(three: SimpleNamespace) -> None:
    sql(
        f"UPDATE {TABLE} SET to_checkpoint_id = %s WHERE number = 2",  # noqa: S608
        three.baseline.pk,
    )
    assert ledger_check(three.model).broken_number == 2


def test_a_dropped_entry_is_named(three: SimpleNamespace) -> None:
    sql(f"DELETE FROM {TABLE} WHERE number = 2")  # noqa: S608
    check = ledger_check(three.model)
    assert check.broken_number == 3
    assert check.problem == "entry 2 is missing"


def test_a_dropped_end_is_found_by_the_champion(three: SimpleNamespace) -> None:
    sql(f"DELETE FROM {TABLE} WHERE number = 3")  # noqa: S608
    assert ledger_check(three.model).broken_number == 3


def test_a_champion_beside_the_ledger_is_found(three: SimpleNamespace) -> None:
    alias_set(language_model=three.model, name="champion", checkpoint=three.candidate)
    check = ledger_check(three.model)
    assert not check.intact
    assert "champion" in check.problem


def test_an_entry_rewritten_with_its_own_hash_lacks_its_seal(three: SimpleNamespace) -> None:
    from ftportal.promotions.ledger import event_hash

    event = PromotionEvent.objects.get(number=2)
    event.reason = "a nicer reason"
    sql(
        f"UPDATE {TABLE} SET reason = %s, hash = %s WHERE number = 2",  # noqa: S608
        event.reason,
        event_hash(event),
    )
    assert ledger_check(three.model).broken_number == 2


def test_entries_are_never_changed_or_deleted(three: SimpleNamespace) -> None:
    event = PromotionEvent.objects.get(number=2)
    event.reason = "another"
    with pytest.raises(LedgerIsAppendOnlyError):
        event.save()
    with pytest.raises(LedgerIsAppendOnlyError):
        event.delete()
    with pytest.raises(LedgerIsAppendOnlyError):
        PromotionEvent.objects.update(reason="another")
    with pytest.raises(LedgerIsAppendOnlyError):
        PromotionEvent.objects.filter(number=2).delete()
    assert ledger_check(three.model).intact


def test_opening_twice_is_once(three: SimpleNamespace) -> None:
    ledger_open(three.model)
    assert PromotionEvent.objects.count() == 3
