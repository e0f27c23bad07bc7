"""The ledger: how entries are hashed, chained, added and checked.

An entry's hash is the SHA-256 of its canonical JSON (keys sorted, no blanks, UTF-8), which holds
the hash of the entry before. Whoever changes, drops or slips in an entry breaks the chain there.
The hash is sealed with a key outside the database: see `ftportal.promotions.sealing`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.audit.services import record
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import CHAMPION
from ftportal.checkpoints.services import alias_set
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.sealing import head_export, heads_exported, seal_fits, seal_of
from ftportal.promotions.signals import champion_changed


def event_hash(event: PromotionEvent) -> str:
    """The hash that the entry's content gives."""
    content = {
        "language_model": event.language_model_id,
        "number": event.number,
        "action": event.action,
        "actor": event.actor_id,
        "from": event.from_checkpoint.manifest_hash if event.from_checkpoint else None,
        "to": event.to_checkpoint.manifest_hash,
        "reason": event.reason,
        "evidence": event.evidence,
        "created_at": event.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "previous_hash": event.previous_hash,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """Whether a model's chain holds, and where it breaks first."""

    entry_count: int
    broken_number: int | None = None
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether every entry is as it was written."""
        return self.broken_number is None


def ledger_check(language_model: LanguageModel) -> LedgerCheck:
    """Hash every entry again, first to last, and name the first that does not fit the chain.

    Dropping the newest entries leaves a valid chain, so the champion is compared with the last one.
    """
    events = PromotionEvent.objects.filter(language_model=language_model).select_related(
        "from_checkpoint", "to_checkpoint"
    )
    count, previous = 0, None
    for event in events.order_by("number"):
        problem = _problem(event, previous)
        if problem:
            return LedgerCheck(
                entry_count=events.count(), broken_number=event.number, problem=problem
            )
        count, previous = count + 1, event
    missing = _missing_head(language_model, events)
    if missing:
        return LedgerCheck(
            entry_count=count,
            broken_number=missing,
            problem="an entry that was written is gone, or another one stands in its place",
        )
    alias = language_model.aliases.filter(name=CHAMPION).first()
    if previous and (alias is None or alias.checkpoint_id != previous.to_checkpoint_id):
        return LedgerCheck(
            entry_count=count,
            broken_number=previous.number + 1,
            problem="the champion is not the one that the last entry names",
        )
    return LedgerCheck(entry_count=count)


def _missing_head(language_model: LanguageModel, events: QuerySet[PromotionEvent]) -> int | None:
    """The number of the first exported head that the ledger does not hold."""
    hashes = dict(events.values_list("number", "hash"))
    for head in heads_exported():
        if head["language_model"] == language_model.pk and head["hash"] != hashes.get(
            head["number"]
        ):
            return int(head["number"])
    return None


def ledgers_check() -> list[tuple[LanguageModel, LedgerCheck]]:
    """Every model's chain that does not hold."""
    checks = [(model, ledger_check(model)) for model in LanguageModel.objects.all()]
    return [(model, check) for model, check in checks if not check.intact]


def _problem(event: PromotionEvent, previous: PromotionEvent | None) -> str:
    number = previous.number + 1 if previous else 1
    if event.number != number:
        return f"entry {number} is missing"
    if event.previous_hash != (previous.hash if previous else ""):
        return "it does not name the entry before it"
    if event.hash != event_hash(event):
        return "its content was changed after it was written"
    if not seal_fits(event.hash, event.seal):
        return "it is not sealed with the portal's key"
    if previous and event.from_checkpoint_id != previous.to_checkpoint_id:
        return "it does not start from the champion of the entry before it"
    return ""


_AUDITED = {
    PromotionAction.INITIAL: "champion.first",
    PromotionAction.PROMOTE: "champion.promoted",
    PromotionAction.ROLLBACK: "champion.rolled_back",
}


def ledger_append(
    *,
    language_model: LanguageModel,
    action: PromotionAction,
    actor: User | None,
    to: Checkpoint,
    reason: str,
    evidence: dict[str, Any],
) -> PromotionEvent:
    """Add an entry and let the alias champion follow it; the caller holds the transaction.

    Two writers at once give one of them an IntegrityError, for an entry's number is unique. Numbers
    in `evidence` are strings or whole: other databases may give floats back in another spelling.
    """
    last = PromotionEvent.objects.filter(language_model=language_model).first()
    event = PromotionEvent(
        language_model=language_model,
        number=last.number + 1 if last else 1,
        action=action,
        actor=actor,
        from_checkpoint=last.to_checkpoint if last else None,
        to_checkpoint=to,
        reason=reason,
        evidence=evidence,
        previous_hash=last.hash if last else "",
        created_at=timezone.now(),
    )
    event.hash = event_hash(event)
    event.seal = seal_of(event.hash)
    event.save()
    head = {
        "language_model": language_model.pk,
        "number": event.number,
        "hash": event.hash,
        "seal": event.seal,
        "at": event.created_at.isoformat(),
    }
    transaction.on_commit(lambda: head_export(head))
    transaction.on_commit(
        lambda: champion_changed.send_robust(PromotionEvent, language_model=language_model)
    )
    record(
        _AUDITED[action],
        to,
        before={"champion": str(last.to_checkpoint) if last else ""},
        after={"champion": str(to), "entry": event.number},
        reason=reason,
        actor=actor,
    )
    alias_set(language_model=language_model, name=CHAMPION, checkpoint=to)
    return event


@transaction.atomic
def ledger_open(language_model: LanguageModel) -> None:
    """Make the pre-trained checkpoint the first champion; does nothing where a ledger exists."""
    locked = LanguageModel.objects.select_for_update().get(pk=language_model.pk)
    if PromotionEvent.objects.filter(language_model=locked).exists():
        return
    ledger_append(
        language_model=locked,
        action=PromotionAction.INITIAL,
        actor=None,
        to=locked.pretrained,
        reason="The pre-trained weights, as they were registered.",
        evidence={},
    )
