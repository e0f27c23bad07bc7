"""Adding to the audit log."""

from collections.abc import Mapping
from typing import Any

from django.db import models

from ftportal.audit.acting import acting
from ftportal.audit.models import AuditEntry


def record(
    action: str,
    target: models.Model | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    actor: Any = None,
) -> None:
    """Write down a change, in the transaction of the caller.

    action: `ACTIONS` has its words. before and after hold what was changed, as JSON; secrets never.
    actor: where it is somebody else than who acts (see `ftportal.audit.acting`).
    """
    who = acting()
    AuditEntry.objects.create(
        actor=actor or who.user,
        action=action,
        target_kind=str(target._meta.verbose_name) if target is not None else "",
        target_key=str(target.pk) if target is not None else "",
        target_name=str(target)[:300] if target is not None else "",
        before=dict(before or {}),
        after=dict(after or {}),
        reason=reason[:500],
        address=who.address,
    )


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs between two states: the old values, and the new ones."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )
