"""The ledger's page: every change of a champion, and who was champion when."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from ftportal.checkpoints.models import LanguageModel
from ftportal.pages.dates import zone_words
from ftportal.pages.exports import FORMATS, rows_download
from ftportal.pages.lists import page_of, text_of
from ftportal.pages.periods import period_of
from ftportal.promotions.forms import AsOfForm
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.selectors import champions_as_of, ledger_actors, ledger_entries

_FILTERS = ("model", "kind", "actor", "text", "since", "until")
_SORT = {
    "when": "created_at",
    "model": "language_model__name",
    "what": "action",
    "who": "actor__username",
}
_COLUMNS = (
    *("at", "model", "number", "action", "who", "from", "to", "reason"),
    *("weights", "evidence", "hash", "previous_hash"),
)


@require_GET
def ledger(request: HttpRequest) -> HttpResponseBase:
    """All ledgers, newest first; `?at=` says who was champion then.

    `?format=csv` and `?format=jsonl` download what is filtered.
    """
    chosen = {name: text_of(request, name) for name in _FILTERS}
    period = period_of(chosen)
    filters = {name: chosen[name] for name in ("model", "kind", "actor", "text")}
    rows = ledger_entries(**filters, period=period)
    wanted = request.GET.get("format", "")
    if wanted in FORMATS and not period.problems:
        return rows_download(rows, columns=_COLUMNS, cells=_cells, name="ledger", wanted=wanted)
    form = AsOfForm(request.GET)
    at = form.cleaned_data["at"] if form.is_valid() else None
    context = {
        "listing": page_of(request, rows, sort=_SORT, default="-when"),
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "problems": period.problems,
        "form": form,
        "at": at,
        "at_value": timezone.localtime(at).strftime("%Y-%m-%dT%H:%M") if at else "",
        "zone": zone_words(at or timezone.now()),
        "champions": champions_as_of(at) if at else [],
        "models": list(LanguageModel.objects.all()),
        "kinds": PromotionAction.choices,
        "actors": ledger_actors(),
    }
    status = 422 if period.problems or form.errors else 200
    return render(request, "promotions/ledger.html", context, status=status)


def _cells(entry: PromotionEvent) -> dict[str, Any]:
    return {
        "at": entry.created_at.isoformat(timespec="seconds"),
        "model": entry.language_model.name,
        "number": entry.number,
        "action": entry.action,
        "who": entry.actor.username if entry.actor else "",
        "from": entry.from_checkpoint.name if entry.from_checkpoint else "",
        "to": entry.to_checkpoint.name,
        "reason": entry.reason,
        "weights": entry.to_checkpoint.manifest_hash,
        "evidence": entry.evidence,
        "hash": entry.hash,
        "previous_hash": entry.previous_hash,
    }
