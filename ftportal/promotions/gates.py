"""The gates between a candidate and the champion's place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from django.db import models
from django.urls import reverse

from engine.manifest import ManifestError, manifest_check, manifest_read
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.evaluations.models import (
    Evaluation,
    Suite,
    Verdict,
    VerdictOutcome,
    VerdictRule,
)
from ftportal.evaluations.selectors import default_suite, evaluation_of
from ftportal.jobs.models import JobState
from ftportal.promotions.models import PromotionEvent
from ftportal.reviews.blindness import Blindness, blindness_of
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.selectors import progress_by_pk, spot_checks_of

POLICY_VERSION = 3
"""Raised whenever a gate changes, and written into every ledger entry."""

PASSED, BARRED, WAITING, INCONCLUSIVE = "passed", "barred", "waiting", "inconclusive"


class GateKey(models.TextChoices):
    """The gates, by which code knows them, and their titles, by which people do."""

    PLACE = "place", "Not champion yet"
    FILES = "files", "Files intact"
    EVALUATION = "evaluation", "Evaluation done"
    CHAMPION = "champion", "Against the champion"
    ANCHOR = "anchor", "Against the pre-trained anchor"
    SPOT_CHECK = "spot_check", "Spot-check approved"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition of a promotion."""

    key: GateKey
    state: str
    """passed; barred; waiting: not known yet; inconclusive: a releaser may answer for it."""
    detail: str
    url: str = ""
    reason: str = ""
    """The figures behind it in a sentence or two, where a page has room for them."""

    @property
    def name(self) -> str:
        """Its title."""
        return str(self.key.label)

    @property
    def passed(self) -> bool:
        """Whether nothing stands in the way here."""
        return self.state == PASSED

    @property
    def words(self) -> str:
        """Everything it says, for the ledger."""
        return f"{self.detail} {self.reason}".rstrip()


def gates(checkpoint: Checkpoint, *, thorough: bool = False, viewer: object = None) -> list[Gate]:
    """The gates of a checkpoint as they stand, in the order in which they are worked through.

    `thorough` hashes every file, which takes seconds for a real model; otherwise names and sizes
    are compared. To a `viewer` who may still judge a check, its gate does not tell of it: what
    decides is asked without one.
    """
    baseline = champion(checkpoint.language_model)
    anchor = checkpoint.language_model.pretrained
    return [
        _place_gate(checkpoint, baseline),
        files_gate(checkpoint, thorough=thorough),
        _evaluation_gate(checkpoint),
        *_verdict_gates(checkpoint, baseline, anchor),
        _spot_check_gate(checkpoint, baseline, blindness_of(viewer)),
    ]


def _place_gate(checkpoint: Checkpoint, baseline: Checkpoint) -> Gate:
    key = GateKey.PLACE
    if checkpoint.pk == baseline.pk:
        return Gate(key=key, state=BARRED, detail="It is the champion already.")
    if checkpoint.is_export:
        return Gate(key=key, state=BARRED, detail="It is an export: promote what it was made of.")
    if checkpoint.is_pretrained:
        return Gate(
            key=key, state=BARRED, detail="The pre-trained anchor comes back by a rollback."
        )
    return Gate(key=key, state=PASSED, detail=f"It would follow {baseline}.")


def files_gate(checkpoint: Checkpoint, *, thorough: bool) -> Gate:
    """Whether the checkpoint's files are what they were when it was made."""
    key = GateKey.FILES
    url = reverse("checkpoints:checkpoint", args=[checkpoint.pk])
    if checkpoint.deleted_at is not None:
        return Gate(key=key, state=BARRED, detail="Its files were deleted.", url=url)
    try:
        if thorough:
            manifest = manifest_check(checkpoint.directory)
        else:
            manifest = manifest_read(checkpoint.directory)
            _sizes_check(
                checkpoint.directory, {n: f["size_bytes"] for n, f in manifest["files"].items()}
            )
        if manifest["sha256"] != checkpoint.manifest_hash:
            raise ManifestError("the manifest is not the one it was registered with")
    except (ManifestError, OSError) as error:
        return Gate(key=key, state=BARRED, detail=f"The files are damaged: {error}.", url=url)
    checked = "hashes" if thorough else "sizes"
    detail = f"{_files(len(manifest['files']))}, {checked} as in the manifest."
    return Gate(key=key, state=PASSED, detail=detail, url=url)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _sizes_check(directory: Path, sizes_bytes: dict[str, int]) -> None:
    for name, size_bytes in sizes_bytes.items():
        path = directory / name
        if not path.is_file():
            raise ManifestError(f"{name} is missing")
        if path.stat().st_size != size_bytes:
            raise ManifestError(f"{name} has another size than in the manifest")


def _evaluation_gate(checkpoint: Checkpoint) -> Gate:
    key = GateKey.EVALUATION
    suite = default_suite()
    if suite is None:
        return Gate(
            key=key,
            state=WAITING,
            detail="No suite is chosen as the default yet.",
            url=reverse("evaluations:suites"),
        )
    evaluation = evaluation_of(checkpoint, suite)
    if evaluation is None:
        return Gate(
            key=key,
            state=WAITING,
            detail=f"Not measured by {suite} yet.",
            url=reverse("checkpoints:checkpoint", args=[checkpoint.pk]),
        )
    state, detail = _evaluation_words(evaluation)
    return Gate(
        key=key,
        state=state,
        detail=detail,
        url=reverse("evaluations:evaluation", args=[evaluation.pk]),
    )


def _evaluation_words(evaluation: Evaluation) -> tuple[str, str]:
    if evaluation.measured:
        return PASSED, f"Measured by {evaluation.suite}."
    if evaluation.job.state in (JobState.FAILED, JobState.CANCELLED):
        return BARRED, f"The measurement by {evaluation.suite} {_ended(evaluation.job.state)}."
    return WAITING, f"Being measured by {evaluation.suite}."


def _ended(state: str) -> str:
    return "failed" if state == JobState.FAILED else "was stopped"


def verdicts_in_force(candidate: Checkpoint, baseline: Checkpoint) -> list[Verdict]:
    """The last verdict of every suite that judged the pair."""
    verdicts = Verdict.objects.filter(
        after__checkpoint=candidate, before__checkpoint=baseline
    ).select_related("rule", "after__suite")
    last: dict[str, Verdict] = {}
    for verdict in verdicts.order_by("-created_at", "-pk"):
        last.setdefault(verdict.after.suite.content_hash, verdict)
    return list(last.values())


def loss_shown(verdicts: Sequence[Verdict]) -> Verdict | None:
    """A verdict that says forgotten, by whatever suite: no other verdict outvotes it."""
    return next((one for one in verdicts if one.outcome == VerdictOutcome.FORGOTTEN), None)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What opens the gates of verdicts: one suite, judged by one rule."""

    suite: Suite
    """The default suite."""

    @property
    def rule(self) -> VerdictRule:
        """The version of the suite's rule that is in force."""
        return self.suite.rule

    def decisive_verdict(self, verdicts: Sequence[Verdict]) -> Verdict | None:
        """The verdict that counts: one that shows a loss, else the one by this suite and rule."""
        own = (
            one
            for one in verdicts
            if one.after.suite.content_hash == self.suite.content_hash
            and one.rule_id == self.suite.rule_id
        )
        return loss_shown(verdicts) or next(own, None)


def policy_in_force() -> Policy | None:
    """The promotion policy; None while no suite is the default."""
    suite = default_suite()
    return Policy(suite=suite) if suite is not None else None


def _verdict_gates(checkpoint: Checkpoint, baseline: Checkpoint, anchor: Checkpoint) -> list[Gate]:
    """Against the champion and against the anchor; while they are one, it is told once."""
    against_champion = _verdict_gate(GateKey.CHAMPION, checkpoint, baseline)
    if anchor.pk != baseline.pk or checkpoint.pk == anchor.pk:
        return [against_champion, _verdict_gate(GateKey.ANCHOR, checkpoint, anchor)]
    detail = "The same comparison: the champion is the anchor."
    return [
        against_champion,
        replace(against_champion, key=GateKey.ANCHOR, detail=detail, reason=""),
    ]


def _verdict_gate(key: GateKey, checkpoint: Checkpoint, baseline: Checkpoint) -> Gate:
    if checkpoint.pk == baseline.pk:
        return Gate(key=key, state=PASSED, detail="It is that checkpoint.")
    verdicts, policy = verdicts_in_force(checkpoint, baseline), policy_in_force()
    verdict = policy.decisive_verdict(verdicts) if policy else loss_shown(verdicts)
    if verdict is None:
        return Gate(
            key=key,
            state=WAITING,
            detail=_why_no_verdict(baseline, verdicts, policy),
            url=reverse("checkpoints:checkpoint", args=[checkpoint.pk]),
        )
    state = {
        VerdictOutcome.RETAINED: PASSED,
        VerdictOutcome.FORGOTTEN: BARRED,
        VerdictOutcome.INCONCLUSIVE: INCONCLUSIVE,
    }[VerdictOutcome(verdict.outcome)]
    return Gate(
        key=key,
        state=state,
        detail=f"{verdict.get_outcome_display()} by {verdict.after.suite}, {verdict.rule}.",
        url=reverse("evaluations:verdict", args=[verdict.pk]),
        reason=verdict.reason,
    )


def _why_no_verdict(
    baseline: Checkpoint, verdicts: Sequence[Verdict], policy: Policy | None
) -> str:
    if policy is None:
        return f"Not compared with {baseline}: no suite is chosen as the default yet."
    missing = f"Not compared with {baseline} by {policy.suite} yet."
    if not verdicts:
        return missing
    others = ", ".join(f"{one.after.suite} ({one.rule})" for one in verdicts)
    return (
        f"{missing} There is a verdict by {others}, but the promotion policy names {policy.suite} "
        f"({policy.rule})."
    )


def _spot_check_gate(checkpoint: Checkpoint, baseline: Checkpoint, blindness: Blindness) -> Gate:
    """Every spot-check against the champion must be approved, and there must be one."""
    key = GateKey.SPOT_CHECK
    checks = [
        one for one in _checks_that_count(checkpoint, baseline) if not blindness.hides_check(one)
    ]
    if not checks:
        return Gate(
            key=key,
            state=WAITING,
            detail=_why_no_check(checkpoint, baseline, blindness),
            url=reverse("checkpoints:checkpoint", args=[checkpoint.pk]),
        )
    order = [SpotCheckState.REJECTED, SpotCheckState.GENERATING, SpotCheckState.OPEN]
    ranked = {state: rank for rank, state in enumerate(order)}
    decisive = min(checks, key=lambda one: ranked.get(SpotCheckState(one.state), len(order)))
    url = reverse("reviews:spot_check", args=[decisive.pk])
    if decisive.state == SpotCheckState.GENERATING:
        return Gate(key=key, state=WAITING, detail="The answers are being prepared.", url=url)
    if decisive.state == SpotCheckState.OPEN:
        progress = progress_by_pk([decisive])[decisive.pk]
        detail = f"{progress.judged_count} of {progress.item_count} prompts are judged."
        if progress.has_quorum:
            detail = "All prompts are judged; a reviewer's decision is missing."
        return Gate(key=key, state=WAITING, detail=detail, url=url)
    words = f"{decisive.get_state_display()} by {decisive.decided_by}: {decisive.decision_reason}"
    state = PASSED if decisive.state == SpotCheckState.APPROVED else BARRED
    return Gate(key=key, state=state, detail=words, url=url)


def _checks_that_count(checkpoint: Checkpoint, baseline: Checkpoint) -> list[SpotCheck]:
    """The checks against the champion, of a former champion those since it left its place.

    What let it in before speaks no longer for it: it was rolled back for a reason.
    """
    checks = spot_checks_of(checkpoint).filter(baseline=baseline)
    left_at = _left_at(checkpoint)
    if left_at is not None:
        checks = checks.filter(created_at__gt=left_at)
    return list(checks.exclude(state=SpotCheckState.CLOSED))


def _left_at(checkpoint: Checkpoint) -> datetime | None:
    """When it last ceased to be champion; None where it never was."""
    events = PromotionEvent.objects.filter(from_checkpoint=checkpoint)
    return events.order_by("-number").values_list("created_at", flat=True).first()


def _why_no_check(checkpoint: Checkpoint, baseline: Checkpoint, blindness: Blindness) -> str:
    if blindness.hides_answers(checkpoint.language_model_id):
        return (
            "Which checkpoints are in review is not told to you while you may still judge one of "
            "their checks."
        )
    if _left_at(checkpoint) is not None:
        return (
            f"It was champion and left its place, so it needs a new spot-check against {baseline}."
        )
    return f"No spot-check against {baseline} yet."
