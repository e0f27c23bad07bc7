"""What the audit page reads."""

from datetime import date, datetime, time, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from ftportal.audit.models import AuditEntry


def entries(
    *,
    text: str = "",
    action: str = "",
    actor: str = "",
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[AuditEntry]:
    """Rows by what is asked for; empty arguments do not filter. until: that day too."""
    rows = AuditEntry.objects.select_related("actor")
    if text:
        rows = rows.filter(Q(target_name__icontains=text) | Q(reason__icontains=text))
    if action:
        rows = rows.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if actor:
        rows = rows.filter(actor__username=actor) if actor != "-" else rows.filter(actor=None)
    if since:
        rows = rows.filter(at__gte=_midnight(since))
    if until:
        rows = rows.filter(at__lt=_midnight(until + timedelta(days=1)))
    return rows


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())


def actors() -> list[str]:
    """Login names of all who did something, in their order."""
    names = AuditEntry.objects.exclude(actor=None).values_list("actor__username", flat=True)
    return sorted(set(names.order_by()))
