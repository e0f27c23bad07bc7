"""Checks that end without a decision, each with its reason."""

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.reviews.models import UNDECIDED, ItemLease, SpotCheck, SpotCheckState
from ftportal.reviews.services.allowed import ReviewRefusedError, spot_check_lock


@transaction.atomic
def spot_check_close(*, spot_check: SpotCheck, actor: User, reason: str) -> SpotCheck:
    """End a check that cannot or need not be decided. Raises ReviewRefusedError.

    Administrators only: closing one that goes badly would be a way around its votes, and the audit
    log names who did it.
    """
    locked = spot_check_lock(spot_check)
    if not actor.has_role("administrator"):
        raise ReviewRefusedError("Closing a check needs the role administrator.", "Ask one.")
    if not reason.strip():
        raise ReviewRefusedError("Closing a check needs a reason.", "Say it in a sentence.")
    if locked.state not in UNDECIDED:
        raise ReviewRefusedError("It has ended already.", "Look at its page.")
    _close(locked, reason.strip(), actor)
    return locked


@transaction.atomic
def spot_checks_close_stale(*, language_model: LanguageModel) -> list[SpotCheck]:
    """Close what compares with a checkpoint that is no longer champion, or the champion itself."""
    current = champion(language_model)
    stale = SpotCheck.objects.select_for_update(of=("self",)).filter(
        ~Q(baseline=current) | Q(candidate=current),
        candidate__language_model=language_model,
        state__in=UNDECIDED,
    )
    closed = list(stale.select_related("candidate__language_model", "baseline", "prompt_set"))
    for one in closed:
        reason = f"{one.baseline} is no longer the champion; {current} is."
        if one.baseline_id == current.pk:
            reason = f"It compared with {current}, and that is the champion itself now."
        _close(one, reason, None)
    return closed


def _close(spot_check: SpotCheck, reason: str, actor: User | None) -> None:
    spot_check.state = SpotCheckState.CLOSED
    spot_check.closed_at = timezone.now()
    spot_check.closed_reason = reason
    spot_check.save(update_fields=["state", "closed_at", "closed_reason"])
    ItemLease.objects.filter(item__spot_check=spot_check).delete()
    record("review.closed", spot_check, reason=reason, actor=actor)
