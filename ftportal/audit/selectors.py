"""What the audit page reads."""

from django.db.models import Q, QuerySet

from ftportal.audit.models import AuditEntry
from ftportal.pages.periods import Period


def entries(
    *, text: str = "", action: str = "", actor: str = "", period: Period | None = None
) -> QuerySet[AuditEntry]:
    """Rows by what is asked for; empty arguments do not filter."""
    rows = AuditEntry.objects.select_related("actor")
    if text:
        rows = rows.filter(Q(target_name__icontains=text) | Q(reason__icontains=text))
    if action:
        rows = rows.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if actor:
        rows = rows.filter(actor__username=actor) if actor != "-" else rows.filter(actor=None)
    return period.of(rows, "at") if period else rows


def actors() -> list[str]:
    """Login names of all who did something, in their order."""
    names = AuditEntry.objects.exclude(actor=None).values_list("actor__username", flat=True)
    return sorted(set(names.order_by()))
