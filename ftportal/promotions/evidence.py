"""What the gates of candidates rest on, read for many of them in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.evaluations.models import Evaluation, Suite, Verdict
from ftportal.promotions.models import PromotionAction, PromotionEvent, RereadThing
from ftportal.promotions.policy import Pair, Policy, loss_shown, policy_in_force, verdicts_by_pair
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.selectors import Progress, progress_by_pk


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything known of some checkpoints of one language model, by their keys."""

    champion: Checkpoint
    anchor: Checkpoint
    policy: Policy | None
    evaluations: Mapping[int, Evaluation]
    """By the default suite, or by another with the very same content."""
    verdicts: Mapping[Pair, list[Verdict]]
    spot_checks: Mapping[int, list[SpotCheck]]
    """Against the champion, the newest first; without those that were closed undecided."""
    progress: Mapping[int, Progress]
    """Of the open spot-checks."""
    undone: Mapping[int, PromotionEvent]
    """The rollback that undid a promotion."""

    def decisive_verdict(self, candidate: Checkpoint, baseline: Checkpoint) -> Verdict | None:
        """The verdict that counts for a pair; without a policy only one that shows a loss."""
        verdicts = self.verdicts[candidate.pk, baseline.pk]
        return self.policy.decisive_verdict(verdicts) if self.policy else loss_shown(verdicts)


def evidence_on(language_model: LanguageModel, checkpoints: Iterable[Checkpoint]) -> Evidence:
    """What is known of checkpoints of a model."""
    keys = [one.pk for one in checkpoints]
    baseline, policy = champion(language_model), policy_in_force()
    spot_checks: dict[int, list[SpotCheck]] = defaultdict(list)
    checks = SpotCheck.objects.filter(candidate__in=keys, baseline=baseline).exclude(
        state=SpotCheckState.CLOSED
    )
    for check in checks.select_related("decided_by"):
        spot_checks[check.candidate_id].append(check)
    every = [check for group in spot_checks.values() for check in group]
    return Evidence(
        champion=baseline,
        anchor=language_model.pretrained,
        policy=policy,
        evaluations=_evaluations(keys, policy.suite) if policy else {},
        verdicts=verdicts_by_pair(keys),
        spot_checks=spot_checks,
        progress=progress_by_pk(one for one in every if one.state == SpotCheckState.OPEN),
        undone=promotions_undone(_entries(language_model)),
    )


def _evaluations(keys: Sequence[int], suite: Suite) -> dict[int, Evaluation]:
    rows = (
        Evaluation.objects.filter(checkpoint__in=keys, suite__content_hash=suite.content_hash)
        .select_related("job", "suite")
        .order_by("-measured", "pk")
    )
    evaluations: dict[int, Evaluation] = {}
    for evaluation in rows:
        evaluations.setdefault(evaluation.checkpoint_id, evaluation)
    return evaluations


def files_changed(checkpoints: Iterable[Checkpoint]) -> dict[int, RereadThing]:
    """Checkpoint -> what differed when its files were last read again; one query."""
    things = RereadThing.objects.filter(checkpoint__in=[one.pk for one in checkpoints])
    last = {thing.checkpoint_id or 0: thing for thing in things.order_by("read_at", "pk")}
    return {key: thing for key, thing in last.items() if thing.problem}


def _entries(language_model: LanguageModel) -> Iterable[PromotionEvent]:
    entries = PromotionEvent.objects.filter(language_model=language_model)
    return entries.select_related("actor").defer("evidence").order_by("number")


def promotions_undone(entries: Iterable[PromotionEvent]) -> dict[int, PromotionEvent]:
    """Checkpoint -> the rollback that undid its promotion, unless it came back since.

    A rollback undoes every promotion after the one that it goes back to; where it goes forth again,
    to what an earlier rollback had undone, it undoes none.
    """
    undone: dict[int, PromotionEvent] = {}
    champions: list[int] = []
    for entry in entries:
        key = entry.to_checkpoint_id
        if entry.action == PromotionAction.ROLLBACK and key in champions:
            while champions[-1] != key:
                undone[champions.pop()] = entry
        else:
            champions.append(key)
        undone.pop(key, None)
    return undone
