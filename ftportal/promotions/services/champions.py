"""Changes of the champion: promote, roll back. Gates, ledger and alias in one transaction."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.blends.selectors import blend_of
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion
from ftportal.checkpoints.services import CheckpointError
from ftportal.evaluations.selectors import default_suite, measured_evaluation
from ftportal.evaluations.services import EvaluationError, checkpoint_judge
from ftportal.promotions.gates import (
    INCONCLUSIVE,
    POLICY_VERSION,
    Gate,
    files_gate,
    gates,
)
from ftportal.promotions.ledger import ledger_append, ledger_check, ledger_open
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.policy import policy_in_force, verdicts_in_force
from ftportal.promotions.selectors import own_word, rollback_targets
from ftportal.reviews.models import Vote
from ftportal.reviews.policy import policy_in_force as review_policy
from ftportal.reviews.selectors import spot_checks_of


class PromotionRefusedError(ProblemError):
    """The champion stays."""


def promote(
    *, checkpoint: Checkpoint, actor: User, reason: str, accept_inconclusive: bool = False
) -> PromotionEvent:
    """Make a checkpoint the champion. Raises PromotionRefusedError.

    Every gate must have passed. `accept_inconclusive` lets inconclusive verdicts pass on the
    actor's own account, which the ledger records; nothing else is ever let pass.
    """
    _actor_check(actor, reason)
    # Hashing takes seconds, so it is done before the transaction, which stays short.
    _gate_check([files_gate(checkpoint, thorough=True)])
    try:
        with transaction.atomic():
            model = _locked(checkpoint.language_model)
            ledger_open(model)
            _chain_check(model)
            current = Checkpoint.with_exports.select_related("language_model").get(pk=checkpoint.pk)
            _own_check(current, actor)
            standing = gates(current)
            _gate_check(standing, accept_inconclusive, told=gates(current, viewer=actor))
            return ledger_append(
                language_model=model,
                action=PromotionAction.PROMOTE,
                actor=actor,
                to=current,
                reason=reason.strip(),
                evidence=_evidence(current, standing),
            )
    except IntegrityError as error:
        raise _raced() from error
    except CheckpointError as error:
        raise PromotionRefusedError(error.message, error.cure) from error


def rollback(
    *, language_model: LanguageModel, to: Checkpoint, actor: User, reason: str
) -> PromotionEvent:
    """Make an earlier champion, or the pre-trained anchor, the champion again.

    Its files are hashed first; its gates are not asked again. Raises PromotionRefusedError.
    """
    _actor_check(actor, reason)
    files = files_gate(to, thorough=True)
    _gate_check([files])
    try:
        with transaction.atomic():
            model = _locked(language_model)
            ledger_open(model)
            _chain_check(model)
            if to.pk == champion(model).pk:
                raise PromotionRefusedError(f"{to} is the champion already.", "Nothing to do.")
            if to.pk not in {target.pk for target in rollback_targets(model)}:
                raise PromotionRefusedError(
                    f"{to} was never champion of {model}.",
                    "Roll back to an earlier champion or to the pre-trained anchor.",
                )
            return ledger_append(
                language_model=model,
                action=PromotionAction.ROLLBACK,
                actor=actor,
                to=to,
                reason=reason.strip(),
                evidence={"policy_version": POLICY_VERSION, "gates": [_gate_words(files)]},
            )
    except IntegrityError as error:
        raise _raced() from error
    except CheckpointError as error:
        raise PromotionRefusedError(error.message, error.cure) from error


def champion_compare(*, checkpoint: Checkpoint) -> None:
    """Judge a measured candidate against the champion of now. Raises PromotionRefusedError.

    Needed for candidates that were judged against a champion who has gone since; a verdict that is
    there already stays.
    """
    suite = default_suite()
    evaluation = measured_evaluation(checkpoint, suite) if suite else None
    baseline = champion(checkpoint.language_model)
    if suite is None or evaluation is None:
        raise PromotionRefusedError(
            f"{checkpoint} is not measured yet.", "Ask for its evaluation on its page."
        )
    if measured_evaluation(baseline, suite) is None:
        raise PromotionRefusedError(
            f"The champion, {baseline}, is not measured by {suite} yet.",
            "Ask for its evaluation on its page.",
        )
    try:
        checkpoint_judge(evaluation=evaluation)
    except EvaluationError as error:
        raise PromotionRefusedError(str(error)) from error


def _raced() -> PromotionRefusedError:
    return PromotionRefusedError(
        "Somebody else changed the champion at the same moment.", "Look at the new champion first."
    )


def _locked(language_model: LanguageModel) -> LanguageModel:
    return LanguageModel.objects.select_for_update().get(pk=language_model.pk)


def _chain_check(language_model: LanguageModel) -> None:
    check = ledger_check(language_model)
    if not check.intact:
        raise PromotionRefusedError(
            f"The ledger of {language_model} does not hold at entry {check.broken_number}: "
            f"{check.problem}.",
            "Find out who changed the database first; `manage.py ledger_check` says where.",
        )


def _actor_check(actor: User, reason: str) -> None:
    if not actor.has_role("releaser"):
        raise PromotionRefusedError(
            "Changing the champion needs the role releaser.", "An administrator can give it."
        )
    if not reason.strip():
        raise PromotionRefusedError(
            "The ledger needs a reason.", "Say in a sentence why the champion should change."
        )


def _own_check(checkpoint: Checkpoint, actor: User) -> None:
    if word := own_word(checkpoint, actor):
        raise PromotionRefusedError(word, "Ask one.")


def _gate_check(
    standing: list[Gate], accept_inconclusive: bool = False, *, told: list[Gate] | None = None
) -> None:
    """Raise PromotionRefusedError where a gate is closed, in the words of what may be `told`."""
    closed = [
        gate
        for gate in standing
        if not gate.passed and not (accept_inconclusive and gate.state == INCONCLUSIVE)
    ]
    if not closed:
        return
    cure = "Pass every gate first."
    if all(gate.state == INCONCLUSIVE for gate in closed):
        cure = "Measure with more items, or tick that you promote although it is inconclusive."
    words = {gate.key: gate for gate in told or standing}
    raise PromotionRefusedError(
        " ".join(f"{gate.name}: {_told(gate, words[gate.key])}" for gate in closed), cure
    )


def _told(gate: Gate, told: Gate) -> str:
    """What a closed gate says to somebody who may not be told why it is closed."""
    if told.passed != gate.passed:
        return "Something stands in the way that is not told to you while you may still judge it."
    return told.detail


def _gate_words(gate: Gate) -> dict[str, str]:
    return {
        "key": gate.key.value,
        "name": gate.name,
        "state": gate.state,
        "detail": gate.words,
        "url": gate.url,
    }


def _evidence(checkpoint: Checkpoint, standing: list[Gate]) -> dict[str, Any]:
    """What the promotion rests on, in words, as it stood. No floats: see `ledger_append`."""
    baselines = (champion(checkpoint.language_model), checkpoint.language_model.pretrained)
    rules = {
        str(verdict.rule)
        for baseline in baselines
        for verdict in verdicts_in_force(checkpoint, baseline)
    }
    policy = policy_in_force()
    run, blend = getattr(checkpoint, "made_by", None), blend_of(checkpoint)
    return {
        "policy_version": POLICY_VERSION,
        "policy": f"{policy.suite}, {policy.rule}" if policy else "",
        "review_policy": review_policy().name,
        "verdict_rules": sorted(rules),
        "digests": _digests(checkpoint, baselines),
        "run": run.name if run else "",
        "blend": str(blend) if blend else "",
        "displacement_pretrained": _spelled(checkpoint.displacement_pretrained),
        "accepted_inconclusive": any(gate.state == INCONCLUSIVE for gate in standing),
        "gates": [_gate_words(gate) for gate in standing],
    }


def _digests(checkpoint: Checkpoint, baselines: Sequence[Checkpoint]) -> dict[str, list[str]]:
    """Hashes of what was looked at: verdicts, the rules they were reached by, and every vote."""
    verdicts = [
        verdict
        for one in dict.fromkeys(baselines)
        for verdict in verdicts_in_force(checkpoint, one)
    ]
    checks = spot_checks_of(checkpoint)
    votes = Vote.objects.filter(item__spot_check__in=checks).order_by("pk")
    return {
        "verdicts": [_digest([v.pk, v.outcome, v.reason, v.evidence]) for v in verdicts],
        "rules": sorted({_digest(verdict.rule.rule) for verdict in verdicts}),
        "votes": [_digest(list(votes.values_list("item", "reviewer", "preference")))],
    }


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _spelled(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
