"""What people write down about a batch, and taking one back. Its examples never change."""

from django.db import transaction
from django.utils import timezone

from ftportal.audit.services import difference, record
from ftportal.datasets.models import Batch
from ftportal.datasets.services.errors import DatasetError


@transaction.atomic
def batch_describe(*, batch: Batch, name: str, origin: str, consent: str, tags: str) -> None:
    """Name a batch, and say where it comes from, who agreed, and which words find it."""
    if not name.strip():
        raise DatasetError("A batch needs a name.", "Write one.")
    fields = ("name", "origin", "consent", "tags")
    before = {field: getattr(batch, field) for field in fields}
    batch.name, batch.origin = name.strip()[:120], origin.strip()[:300]
    batch.consent, batch.tags = consent.strip()[:300], tags.strip()[:200]
    batch.save(update_fields=fields)
    old, new = difference(before, {field: getattr(batch, field) for field in fields})
    if new:
        record("batch.described", batch, before=old, after=new)


@transaction.atomic
def batch_withdraw(*, batch: Batch, reason: str) -> None:
    """Take a batch back: no run may use it any more, and what learned from it says so.

    Raises DatasetError without a reason, or where it was withdrawn already.
    """
    if not reason.strip():
        raise DatasetError("Withdrawing a batch needs a reason.", "Say why; it stays with it.")
    changed = Batch.objects.filter(pk=batch.pk, withdrawn_at__isnull=True).update(
        withdrawn_at=timezone.now(), withdrawn_reason=reason.strip()[:300]
    )
    if not changed:
        raise DatasetError("It is withdrawn already.", "Look at its page.")
    batch.refresh_from_db()
    record("batch.withdrawn", batch, reason=batch.withdrawn_reason)
