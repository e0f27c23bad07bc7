"""What pages read about promotions."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.promotions.gates import BARRED, INCONCLUSIVE, WAITING, Gate, GateKey, gates
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.stages import anchors_and_champions, stage, stages
from ftportal.reviews.policy import policy_in_force as review_policy
from ftportal.reviews.selectors import checkpoint_submitter

__all__ = [
    "Candidate",
    "Gate",
    "anchors_and_champions",
    "candidate_of",
    "candidates",
    "champion_event",
    "gates",
    "ledger",
    "own_word",
    "rollback_targets",
    "stage",
    "stages",
]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that might become champion, with its gates."""

    checkpoint: Checkpoint
    gates: Sequence[Gate]
    own_word: str = ""
    """Why who looks may not promote it although a releaser may; empty where they may."""

    @property
    def is_ready(self) -> bool:
        """Whether every gate has passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def needs_acceptance(self) -> bool:
        """Whether only inconclusive verdicts stand in the way, which a releaser may answer for."""
        open_gates = [gate for gate in self.gates if not gate.passed]
        return bool(open_gates) and all(gate.state == INCONCLUSIVE for gate in open_gates)

    @property
    def is_barred(self) -> bool:
        """Whether a gate has closed for good."""
        return any(gate.state == BARRED for gate in self.gates)

    @property
    def word(self) -> str:
        """The sum of the gates, as `badge` knows it."""
        if self.is_ready:
            return "ready"
        if self.is_barred:
            return "barred"
        return "inconclusive" if self.needs_acceptance else "waiting"

    @property
    def waits_for(self) -> str:
        """The gates that have not passed yet, to stand after the word once."""
        names = [gate.name[0].lower() + gate.name[1:] for gate in self.gates if not gate.passed]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
        return f"{'this has' if len(names) == 1 else 'these have'} passed: {listed}"

    @property
    def lacks_comparison(self) -> bool:
        """Whether a verdict against the champion of now is missing and would still count."""
        return not self.is_barred and any(
            gate.key == GateKey.CHAMPION and gate.state == WAITING for gate in self.gates
        )


def candidate_of(checkpoint: Checkpoint, viewer: object = None) -> Candidate:
    """A checkpoint with its gates, as they may be told to who looks."""
    return Candidate(
        checkpoint=checkpoint,
        gates=gates(checkpoint, viewer=viewer),
        own_word=own_word(checkpoint, viewer),
    )


def own_word(checkpoint: Checkpoint, viewer: object) -> str:
    """Why a person may not promote what they trained, in a sentence; empty where they may."""
    submitter = checkpoint_submitter(checkpoint)
    if submitter is None or submitter != viewer:
        return ""
    policy = review_policy()
    if policy.trainers_may_promote:
        return ""
    return f"You trained it, and by the {policy.name} review policy another releaser promotes it."


def candidates(language_model: LanguageModel) -> QuerySet[Checkpoint]:
    """Trained checkpoints with their files there that are not champion now."""
    return (
        language_model.checkpoints.filter(parent__isnull=False, deleted_at__isnull=True)
        .exclude(pk=champion(language_model).pk)
        .select_related("language_model", "parent", "made_by__submitter")
    )


def ledger(language_model: LanguageModel) -> QuerySet[PromotionEvent]:
    """The entries of a model's ledger."""
    return PromotionEvent.objects.filter(language_model=language_model).select_related(
        "actor", "from_checkpoint", "to_checkpoint"
    )


def champion_event(language_model: LanguageModel) -> PromotionEvent | None:
    """The entry that made the champion; None before the ledger was opened."""
    return ledger(language_model).first()


def rollback_targets(language_model: LanguageModel) -> list[Checkpoint]:
    """Where a rollback may go: earlier champions, the last one first, and the anchor."""
    current = champion(language_model)
    anchor = language_model.pretrained
    earlier = [event.to_checkpoint for event in ledger(language_model).order_by("-number")]
    targets = {one.pk: one for one in [*earlier, anchor]}
    return [one for one in targets.values() if one.pk != current.pk and one.deleted_at is None]
