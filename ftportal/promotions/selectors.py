"""What pages read about promotions."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.urls import reverse
from django.utils.http import urlencode

from ftportal.accounts.models import Role, User
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.pages.periods import Period
from ftportal.promotions.evidence import evidence_on, files_changed
from ftportal.promotions.gates import (
    BARRED,
    INCONCLUSIVE,
    PASSED,
    WAITING,
    Gate,
    GateKey,
    files_gate,
    gates,
    gates_by_database,
)
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.stages import anchors_and_champions, stage, stages
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.policy import policy_in_force as review_policy
from ftportal.reviews.selectors import checkpoint_submitters

__all__ = [
    "Candidate",
    "Gate",
    "anchors_and_champions",
    "candidate_of",
    "candidates",
    "candidates_of",
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
    def rank(self) -> int:
        """Its place in a list: what a releaser can promote comes first, what is barred last."""
        return ("ready", "inconclusive", "waiting", "barred").index(self.word)

    @property
    def waits_for(self) -> str:
        """The gates that have not passed yet, to stand after the word once."""
        names = [gate.name[0].lower() + gate.name[1:] for gate in self.gates if not gate.passed]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
        return f"{'this has' if len(names) == 1 else 'these have'} passed: {listed}"

    @property
    def lacks_comparison(self) -> bool:
        """Whether it is measured, and a verdict against the champion of now would still count."""
        states = {gate.key: gate.state for gate in self.gates}
        is_measured = states.get(GateKey.EVALUATION) == PASSED
        return is_measured and not self.is_barred and states.get(GateKey.CHAMPION) == WAITING


def candidate_of(checkpoint: Checkpoint, viewer: object = None) -> Candidate:
    """A checkpoint with its gates, as they may be told to who looks."""
    return Candidate(
        checkpoint=checkpoint,
        gates=gates(checkpoint, viewer=viewer),
        own_word=own_word(checkpoint, viewer),
    )


def own_word(checkpoint: Checkpoint, viewer: object) -> str:
    """Why a person may not promote what they trained, in a sentence; empty where they may."""
    return own_words([checkpoint], viewer).get(checkpoint.pk, "")


def own_words(checkpoints: Collection[Checkpoint], viewer: object) -> dict[int, str]:
    """Checkpoint that a person may not promote since they trained it -> why, in a sentence."""
    if not checkpoints or not isinstance(viewer, User) or not viewer.has_role(Role.RELEASER):
        return {}
    policy = review_policy()
    if policy.trainers_may_promote:
        return {}
    words = f"You trained it, and by the {policy.name} review policy another releaser promotes it."
    submitters = checkpoint_submitters(checkpoints)
    return {key: words for key, submitter in submitters.items() if submitter == viewer}


def candidates_of(checkpoints: Iterable[Checkpoint], viewer: object = None) -> list[Candidate]:
    """Checkpoints with their gates: who can be promoted first, then as they came.

    As they may be told to who looks. The queries grow with the language models, not with the
    checkpoints.
    """
    by_model: dict[LanguageModel, list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        by_model[one.language_model].append(one)
    blindness = blindness_of(viewer)
    ranked = [
        Candidate(checkpoint=one, gates=gates_by_database(one, evidence, blindness))
        for model, group in by_model.items()
        for evidence in [evidence_on(model, group)]
        for one in group
    ]
    return sorted(ranked, key=lambda one: one.rank)


def with_files(candidates: Iterable[Candidate], viewer: object = None) -> list[Candidate]:
    """The same with the gate of the files, which asks the disk, and why who looks may not promote
    one; in their order anew."""
    complete = []
    shown = list(candidates)
    words = own_words([one.checkpoint for one in shown], viewer)
    changed = files_changed([one.checkpoint for one in shown])
    for one in shown:
        first, *others = one.gates
        pk = one.checkpoint.pk
        files = files_gate(one.checkpoint, thorough=False, changed=changed.get(pk))
        gates_of_it = [first, files, *others]
        complete.append(replace(one, gates=gates_of_it, own_word=words.get(pk, "")))
    return sorted(complete, key=lambda one: one.rank)


def candidates(language_model: LanguageModel) -> QuerySet[Checkpoint]:
    """Trained checkpoints with their files there that are not champion now, newest first."""
    return (
        language_model.checkpoints.filter(parent__isnull=False, deleted_at__isnull=True)
        .exclude(pk=champion(language_model).pk)
        .select_related("language_model", "parent", "made_by__submitter")
        .order_by("-created_at", "-pk")
    )


def place_of(checkpoint: Checkpoint) -> str:
    """The address of a candidate on the promotions page."""
    query = urlencode({"model": checkpoint.language_model.name})
    return f"{reverse('promotions:promotions')}?{query}#candidate-{checkpoint.pk}"


def events_of(checkpoint: Checkpoint) -> QuerySet[PromotionEvent]:
    """What the ledger says of a checkpoint: how it became champion, and why it was rolled back."""
    left = Q(from_checkpoint=checkpoint, action=PromotionAction.ROLLBACK)
    return ledger(checkpoint.language_model).filter(Q(to_checkpoint=checkpoint) | left)


def ledger(language_model: LanguageModel) -> QuerySet[PromotionEvent]:
    """The entries of a model's ledger."""
    return PromotionEvent.objects.filter(language_model=language_model).select_related(
        "actor", "from_checkpoint", "to_checkpoint"
    )


def ledger_entries(
    *, model: str = "", kind: str = "", actor: str = "", text: str = "", period: Period
) -> QuerySet[PromotionEvent]:
    """The entries of all ledgers by what is asked for; empty arguments do not filter.

    actor: a login name, or - for the portal itself. text: in the reason or a checkpoint's name.
    """
    entries = PromotionEvent.objects.select_related(
        "language_model", "actor", "from_checkpoint", "to_checkpoint"
    )
    if model:
        entries = entries.filter(language_model__name=model)
    if kind:
        entries = entries.filter(action=kind)
    if actor:
        entries = entries.filter(**{"actor": None} if actor == "-" else {"actor__username": actor})
    if text:
        entries = entries.filter(
            Q(reason__icontains=text)
            | Q(to_checkpoint__name__icontains=text)
            | Q(from_checkpoint__name__icontains=text)
        )
    return period.of(entries, "created_at")


def ledger_actors() -> list[User]:
    """Everybody who has changed a champion, by name."""
    actors = PromotionEvent.objects.exclude(actor=None).order_by().values("actor")
    return sorted(User.objects.filter(pk__in=actors), key=str)


@dataclass(frozen=True, kw_only=True)
class AsOf:
    """Who was champion of a language model at some moment."""

    language_model: LanguageModel
    checkpoint: Checkpoint
    event: PromotionEvent | None
    """The entry that put it in force; None before the ledger's first one."""


def champions_as_of(at: datetime) -> list[AsOf]:
    """The champion of every language model at that moment; the anchor before the first entry."""
    before = PromotionEvent.objects.filter(language_model=OuterRef("pk"), created_at__lte=at)
    models = LanguageModel.objects.annotate(
        event_key=Subquery(before.order_by("-number").values("pk")[:1])
    )
    anchors = {one.language_model_id: one for one in Checkpoint.objects.filter(parent=None)}
    events = PromotionEvent.objects.select_related("actor", "to_checkpoint").in_bulk(
        [one.event_key for one in models if one.event_key]
    )
    return [
        AsOf(
            language_model=model,
            checkpoint=event.to_checkpoint if event else anchors[model.pk],
            event=event,
        )
        for model in models
        for event in [events.get(model.event_key)]
    ]


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
