"""What people and the ledger say in a card, and what its exports were measured to cost."""

from collections.abc import Iterator

from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.selectors import latest_verdict
from ftportal.handover.markdown import inline, minute
from ftportal.handover.models import Export
from ftportal.promotions.selectors import ledger
from ftportal.reviews.findings import counted_defects
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.plan import plan_sentences
from ftportal.reviews.selectors import spot_checks_of


def review_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Every decided spot-check: the plan with its bound, the reviewers, the decision."""
    decided = [one for one in spot_checks_of(checkpoint) if one.is_decided]
    for number, check in enumerate(sorted(decided, key=lambda one: one.pk)):
        if number:
            yield ""
        yield from _review(check)


def _review(check: SpotCheck) -> Iterator[str]:
    yield f"### {check.get_state_display()}, beside {inline(check.baseline)}"
    yield ""
    plan = " ".join(plan_sentences(check, check.items.count()))
    yield f"The plan, fixed before the first vote: {inline(plan)}"
    yield ""
    reviewers = User.objects.filter(
        pk__in=check.items.filter(votes__isnull=False).values("votes__reviewer")
    )
    names = ", ".join(sorted(inline(one) for one in reviewers)) or "nobody"
    defects = counted_defects(check)
    yield f"Judged blind by {names}. Defects that count: {defects}."
    if check.decided_by is not None and check.decided_at is not None:
        reason = f": {inline(check.decision_reason)}" if check.decision_reason else "."
        yield (
            f"{check.get_state_display()} by {inline(check.decided_by)} on "
            f"{minute(check.decided_at)}{reason}"
        )


def promotion_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Every entry of the ledger that made it champion, or that says that none did."""
    events = list(
        ledger(checkpoint.language_model).filter(to_checkpoint=checkpoint).order_by("number")
    )
    if not events:
        yield "It was not promoted: no entry of the ledger names it."
        return
    yield "| entry | what | when | by | reason | hash |"
    yield "|---|---|---|---|---|---|"
    for event in events:
        by = inline(event.actor) if event.actor else "the portal"
        yield (
            f"| {event.number} | {event.get_action_display()} | {minute(event.created_at)} | {by} "
            f"| {inline(event.reason)} | `{event.hash}` |"
        )


def quantised_lines(checkpoint: Checkpoint) -> Iterator[str]:
    """Every export whose file is there: its size, hash, and the verdict on what it cost."""
    exports = Export.objects.filter(source=checkpoint, result__deleted_at__isnull=True)
    for number, one in enumerate(exports.exclude(result=None).select_related("result")):
        if not number:
            yield "| file | bytes | against this checkpoint | SHA-256 |"
            yield "|---|---|---|---|"
        verdict = latest_verdict(one.result, checkpoint) if one.result else None
        words = "not judged yet"
        if verdict is not None:
            words = f"{verdict.get_outcome_display()}: {inline(verdict.reason)}"
        yield f"| {one.quantisation} | {one.size_bytes:,} | {words} | `{one.file_sha256}` |"
