"""The audit page, and its export."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.audit.models import AuditEntry
from ftportal.audit.selectors import actors, entries
from ftportal.audit.words import ACTIONS, action_words
from ftportal.pages.csvs import csv_line
from ftportal.pages.lists import page_of, text_of

_COLUMNS = ("at", "who", "action", "kind", "name", "before", "after", "reason", "address")


_YEARS = range(1900, 9999)
"""Others have no day before or after them in every time zone."""


@require_GET
def audit(request: HttpRequest) -> HttpResponseBase:
    """Who did what, newest first; `?format=csv` and `?format=jsonl` download what is filtered."""
    require_role(request, Role.ADMINISTRATOR)
    chosen = {
        name: text_of(request, name) for name in ("text", "action", "actor", "since", "until")
    }
    rows = entries(
        text=chosen["text"],
        action=chosen["action"],
        actor=chosen["actor"],
        since=_day(chosen["since"]),
        until=_day(chosen["until"]),
    )
    wanted = request.GET.get("format", "")
    if wanted in ("csv", "jsonl"):
        return _download(rows, wanted)
    listing = page_of(request, rows, sort={"at": "pk"}, default="-at", per_page=50)
    for one in listing.object_list:
        one.words, one.changes = action_words(one.action), changes_of(one)
    context = {
        "listing": listing,
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "actions": sorted(ACTIONS.items(), key=lambda item: item[1]),
        "actors": actors(),
    }
    return render(request, "audit/audit.html", context)


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year in _YEARS else None


def changes_of(entry: AuditEntry) -> list[dict[str, str]]:
    """What was changed, name by name, in words."""
    names = dict.fromkeys([*entry.before, *entry.after])
    return [
        {
            "name": name.replace("_", " "),
            "before": _words(entry.before.get(name)),
            "after": _words(entry.after.get(name)),
        }
        for name in names
    ]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def _cells(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at.isoformat(timespec="seconds"),
        "who": entry.actor.username if entry.actor else "",
        "action": entry.action,
        "kind": entry.target_kind,
        "name": entry.target_name,
        "before": entry.before,
        "after": entry.after,
        "reason": entry.reason,
        "address": entry.address or "",
    }


def _download(rows: Any, wanted: str) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        if wanted == "csv":
            yield csv_line(_COLUMNS)
        for entry in rows.iterator():
            cells = _cells(entry)
            if wanted == "jsonl":
                yield json.dumps(cells, ensure_ascii=False) + "\n"
                continue
            cells |= {name: json.dumps(cells[name]) for name in ("before", "after")}
            yield csv_line([cells[name] for name in _COLUMNS])

    kind = "text/csv" if wanted == "csv" else "application/x-ndjson"
    response = StreamingHttpResponse(lines(), content_type=f"{kind}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="audit.{wanted}"'
    return response
