"""The days that a list is filtered by: from and to, as an address names them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Period:
    """Some days, both ends included; None where it is open."""

    since: date | None = None
    until: date | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with "since" or "until", in words."""

    def of(self, rows: QuerySet[Row], name: str) -> QuerySet[Row]:
        """The rows whose moment `name` lies in these days."""
        limits: dict[str, Any] = {}
        if self.since:
            limits[f"{name}__gte"] = _midnight(self.since)
        if self.until and self.until < date.max:
            limits[f"{name}__lt"] = _midnight(self.until + timedelta(days=1))
        return rows.filter(**limits)


def period_of(chosen: Mapping[str, str]) -> Period:
    """The days that `since` and `until` name."""
    days: dict[str, Any] = {}
    problems = {}
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(chosen[name]) if chosen[name] else None
        except ValueError:
            problems[name] = f"“{chosen[name][:40]}” is not a date. Write 2026-05-03, for example."
    return Period(**days, problems=problems)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
