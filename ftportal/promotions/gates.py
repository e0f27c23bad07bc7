"""The gates between a candidate and the champion's place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from django.db import models
from django.urls import reverse

from engine.manifest import ManifestError, manifest_check, manifest_read
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Verdict, VerdictOutcome
from ftportal.jobs.models import JobState
from ftportal.promotions.evidence import Evidence, evidence_on, files_changed
from ftportal.promotions.models import RereadThing
from ftportal.promotions.policy import Policy
from ftportal.reviews.blindness import ALL_SEEING, Blindness, blindness_of
from ftportal.reviews.models import SpotCheckState

POLICY_VERSION = 4
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
    ROLLBACK = "rollback", "Looked at since its rollback"


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


def gates(checkpoint: Checkpoint, *, viewer: object = None) -> list[Gate]:
    """The gates of a checkpoint as they stand, in the order in which they are worked through.

    Of its files only names and sizes are compared: see `files_gate`. To a `viewer` who may still
    judge a check, its gate does not tell of it: what decides is asked without one.
    """
    evidence = evidence_on(checkpoint.language_model, [checkpoint])
    first, *others = gates_by_database(checkpoint, evidence, blindness_of(viewer))
    changed = files_changed([checkpoint]).get(checkpoint.pk)
    return [first, files_gate(checkpoint, thorough=False, changed=changed), *others]


def gates_by_database(
    checkpoint: Checkpoint, evidence: Evidence, blindness: Blindness = ALL_SEEING
) -> list[Gate]:
    """All gates but the one of the files, which asks the disk; no query."""
    return [
        _place_gate(checkpoint, evidence.champion),
        _evaluation_gate(checkpoint, evidence),
        *_verdict_gates(checkpoint, evidence),
        _spot_check_gate(checkpoint, evidence, blindness),
        *_rollback_gate(checkpoint, evidence),
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


def files_gate(
    checkpoint: Checkpoint, *, thorough: bool, changed: RereadThing | None = None
) -> Gate:
    """Whether the checkpoint's files are what they were when it was made.

    `changed` is what differed when they were last read again, which names and sizes do not show.
    """
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
    if changed is not None:
        problem = f"{changed.problem[:1].upper()}{changed.problem[1:]}"
        detail = f"{problem}. Put the files back, then read them again."
        return Gate(key=key, state=BARRED, detail=detail, url=f"{url}#files")
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


def _evaluation_gate(checkpoint: Checkpoint, evidence: Evidence) -> Gate:
    key = GateKey.EVALUATION
    if evidence.policy is None:
        return Gate(
            key=key,
            state=WAITING,
            detail="No suite is chosen as the default yet.",
            url=reverse("evaluations:suites"),
        )
    evaluation = evidence.evaluations.get(checkpoint.pk)
    if evaluation is None:
        return Gate(
            key=key,
            state=WAITING,
            detail=f"Not measured by {evidence.policy.suite} yet.",
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


def _verdict_gates(checkpoint: Checkpoint, evidence: Evidence) -> list[Gate]:
    """Against the champion and against the anchor; while they are one, it is told once."""
    against_champion = _verdict_gate(GateKey.CHAMPION, checkpoint, evidence.champion, evidence)
    if evidence.anchor.pk != evidence.champion.pk or checkpoint.pk == evidence.anchor.pk:
        against_anchor = _verdict_gate(GateKey.ANCHOR, checkpoint, evidence.anchor, evidence)
        return [against_champion, against_anchor]
    detail = "The same comparison: the champion is the anchor."
    return [
        against_champion,
        replace(against_champion, key=GateKey.ANCHOR, detail=detail, reason=""),
    ]


def _verdict_gate(
    key: GateKey, checkpoint: Checkpoint, baseline: Checkpoint, evidence: Evidence
) -> Gate:
    if checkpoint.pk == baseline.pk:
        return Gate(key=key, state=PASSED, detail="It is that checkpoint.")
    verdict = evidence.decisive_verdict(checkpoint, baseline)
    if verdict is None:
        verdicts = evidence.verdicts[checkpoint.pk, baseline.pk]
        return Gate(
            key=key,
            state=WAITING,
            detail=_why_no_verdict(baseline, verdicts, evidence.policy),
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


def _spot_check_gate(checkpoint: Checkpoint, evidence: Evidence, blindness: Blindness) -> Gate:
    """Every spot-check against the champion must be approved, and there must be one."""
    key = GateKey.SPOT_CHECK
    checks = [one for one in evidence.spot_checks[checkpoint.pk] if not blindness.hides_check(one)]
    if not checks:
        return Gate(
            key=key,
            state=WAITING,
            detail=_why_no_check(checkpoint, evidence.champion, blindness),
            url=reverse("checkpoints:checkpoint", args=[checkpoint.pk]),
        )
    order = [SpotCheckState.REJECTED, SpotCheckState.GENERATING, SpotCheckState.OPEN]
    ranked = {state: rank for rank, state in enumerate(order)}
    decisive = min(checks, key=lambda one: ranked.get(SpotCheckState(one.state), len(order)))
    url = reverse("reviews:spot_check", args=[decisive.pk])
    if decisive.state == SpotCheckState.GENERATING:
        return Gate(key=key, state=WAITING, detail="The answers are being prepared.", url=url)
    if decisive.state == SpotCheckState.OPEN:
        progress = evidence.progress[decisive.pk]
        detail = f"{progress.judged_count} of {progress.item_count} prompts are judged."
        if progress.has_quorum:
            detail = "All prompts are judged; a reviewer's decision is missing."
        return Gate(key=key, state=WAITING, detail=detail, url=url)
    words = f"{decisive.get_state_display()} by {decisive.decided_by}: {decisive.decision_reason}"
    state = PASSED if decisive.state == SpotCheckState.APPROVED else BARRED
    return Gate(key=key, state=state, detail=words, url=url)


def _why_no_check(checkpoint: Checkpoint, baseline: Checkpoint, blindness: Blindness) -> str:
    if blindness.hides_answers(checkpoint.language_model_id):
        return (
            "Which checkpoints are in review is not told to you while you may still judge one of "
            "their checks."
        )
    return f"No spot-check against {baseline} yet."


def _rollback_gate(checkpoint: Checkpoint, evidence: Evidence) -> list[Gate]:
    """What was rolled back takes more than what spoke for it before: something made since."""
    entry = evidence.undone.get(checkpoint.pk)
    if entry is None:
        return []
    words = f"{entry.actor} rolled it back: {entry.reason.rstrip('.')}."
    verdict = evidence.decisive_verdict(checkpoint, evidence.champion)
    checks = [one.created_at for one in evidence.spot_checks[checkpoint.pk] if one.is_decided]
    made = [*checks, *([verdict.after.created_at] if verdict else [])]
    if any(moment > entry.created_at for moment in made):
        return [Gate(key=GateKey.ROLLBACK, state=PASSED, detail=f"{words} It was looked at since.")]
    detail = f"{words} It takes a measurement or a spot-check made after that."
    url = reverse("checkpoints:checkpoint", args=[checkpoint.pk])
    return [Gate(key=GateKey.ROLLBACK, state=WAITING, detail=detail, url=url)]
