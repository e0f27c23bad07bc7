"""The audit page, and its export."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.audit.models import AuditEntry
from ftportal.audit.selectors import actors, entries
from ftportal.audit.words import ACTIONS, action_words
from ftportal.pages.exports import FORMATS, rows_download
from ftportal.pages.lists import page_of, text_of
from ftportal.pages.periods import period_of

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
    period = period_of(chosen)
    rows = entries(
        text=chosen["text"], action=chosen["action"], actor=chosen["actor"], period=period
    )
    wanted = request.GET.get("format", "")
    if wanted in FORMATS and not period.problems:
        return rows_download(rows, columns=_COLUMNS, cells=_cells, name="audit", wanted=wanted)
    listing = page_of(request, rows, sort={"at": "pk"}, default="-at", per_page=50)
    for one in listing.object_list:
        one.words, one.changes = action_words(one.action), changes_of(one)
    context = {
        "listing": listing,
        "chosen": chosen,
        "problems": period.problems,
        "is_filtered": any(chosen.values()),
        "actions": sorted(ACTIONS.items(), key=lambda item: item[1]),
        "actors": actors(),
    }
    return render(request, "audit/audit.html", context, status=422 if period.problems else 200)


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
