"""What people write down about a batch, and taking one back. Its examples never change."""

from django.db import transaction
from django.utils import timezone

from ftportal.audit.describing import describe
from ftportal.audit.services import record
from ftportal.datasets.models import Batch
from ftportal.datasets.services.errors import DatasetError
from ftportal.pages.describing import NOTE_CHARACTERS


def batch_describe(
    *, batch: Batch, name: str, origin: str, consent: str, tags: str, note: str = ""
) -> None:
    """Name a batch, and say where it comes from, who agreed, and which words find it.

    Raises DatasetError where a text is missing or too long; nothing is cut off.
    """
    values = {"name": name, "origin": origin, "consent": consent, "tags": tags, "note": note}
    values = {field: text.strip() for field, text in values.items()}
    if not values["name"]:
        raise DatasetError("A batch needs a name.", "Write one.")
    for field, text in values.items():
        most = getattr(Batch._meta.get_field(field), "max_length", None) or NOTE_CHARACTERS
        if len(text) > most:
            raise DatasetError(
                f"The {field} has {len(text):,} characters.", f"At most {most:,} fit: shorten it."
            )
    describe(batch, "batch.described", **values)


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
