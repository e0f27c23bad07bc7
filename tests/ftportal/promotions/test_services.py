"""Promote and roll back: each refusal, and that ledger and alias move together."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.checkpoints.services import delete_objections
from ftportal.evaluations.models import Verdict
from ftportal.promotions.ledger import ledger_check
from ftportal.promotions.models import PromotionAction, PromotionEvent
from ftportal.promotions.selectors import candidate_of
from ftportal.promotions.services import PromotionRefusedError, champion_compare, promote, rollback
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.reviews.policy import STRICT
from ftportal.reviews.selectors import waiting_for
from ftportal.reviews.services import review_policy_set
from ftportal.reviews.services.policies import FIELDS
from tests.ftportal.house import (
    approval_make,
    check_make,
    checkpoint_make,
    model_make,
    verdict_make,
    votes_give,
)
from tests.ftportal.threads import at_once, database_to_disk, in_thread


def test_the_anchor_is_the_first_champion(pair: SimpleNamespace) -> None:
    event = PromotionEvent.objects.get()
    assert (event.number, event.action) == (1, PromotionAction.INITIAL)
    assert event.to_checkpoint == pair.baseline == champion(pair.model)
    assert event.actor is None


def test_promotion_moves_alias_and_ledger(ready: SimpleNamespace, cast: Any) -> None:
    event = promote(checkpoint=ready.candidate, actor=cast.leo, reason=" kept all it knew ")
    assert champion(ready.model) == ready.candidate
    assert (event.number, event.action) == (2, PromotionAction.PROMOTE)
    assert (event.from_checkpoint, event.to_checkpoint) == (ready.baseline, ready.candidate)
    assert event.reason == "kept all it knew"
    assert event.evidence["run"] == "Run of Zebra nine"
    assert event.evidence["verdict_rules"] == ["Standard, version 1"]
    assert not event.evidence["accepted_inconclusive"]
    assert [gate["state"] for gate in event.evidence["gates"]] == ["passed"] * 6
    assert ledger_check(ready.model).intact


@pytest.mark.parametrize("name", ["tina", "rob", "ada", "otto"])
def test_only_releasers_promote(ready: SimpleNamespace, cast: Any, name: str) -> None:
    with pytest.raises(PromotionRefusedError, match="role releaser"):
        promote(checkpoint=ready.candidate, actor=getattr(cast, name), reason="why not")


def test_a_promotion_needs_a_reason(ready: SimpleNamespace, cast: Any) -> None:
    with pytest.raises(PromotionRefusedError, match="needs a reason"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="  ")


def test_closed_gates_are_named(pair: SimpleNamespace, cast: Any) -> None:
    with pytest.raises(PromotionRefusedError, match=r"Evaluation done: .* Spot-check approved: "):
        promote(checkpoint=pair.candidate, actor=cast.leo, reason="now")
    assert champion(pair.model) == pair.baseline
    assert PromotionEvent.objects.count() == 1


def test_damaged_weights_are_never_promoted(ready: SimpleNamespace, cast: Any) -> None:
    (ready.candidate.directory / "model.safetensors").write_bytes(bytes(32))
    with pytest.raises(PromotionRefusedError, match="was changed"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")


def test_inconclusive_needs_somebody_who_answers_for_it(ready: SimpleNamespace, cast: Any) -> None:
    Verdict.objects.update(outcome="inconclusive")
    with pytest.raises(PromotionRefusedError, match="tick that you promote although"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    event = promote(
        checkpoint=ready.candidate, actor=cast.leo, reason="now", accept_inconclusive=True
    )
    assert event.evidence["accepted_inconclusive"]


def test_forgotten_is_never_accepted(ready: SimpleNamespace, cast: Any) -> None:
    Verdict.objects.update(outcome="forgotten")
    with pytest.raises(PromotionRefusedError, match="Forgotten by Quick"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="now", accept_inconclusive=True)


def test_the_champion_is_not_promoted_again(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    with pytest.raises(PromotionRefusedError, match="champion already"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="again")


def test_rollback_to_the_anchor_and_forth_again(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    event = rollback(
        language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="users complain"
    )
    assert event.action == PromotionAction.ROLLBACK
    assert champion(ready.model) == ready.baseline
    rollback(language_model=ready.model, to=ready.candidate, actor=cast.leo, reason="false alarm")
    assert champion(ready.model) == ready.candidate
    assert [e.number for e in PromotionEvent.objects.order_by("number")] == [1, 2, 3, 4]
    assert ledger_check(ready.model).intact


def test_rollback_goes_only_to_earlier_champions(pair: SimpleNamespace, cast: Any) -> None:
    with pytest.raises(PromotionRefusedError, match="was never champion"):
        rollback(language_model=pair.model, to=pair.candidate, actor=cast.leo, reason="now")


def test_rollback_stays_within_its_model(pair: SimpleNamespace, cast: Any) -> None:
    other = model_make("Other")
    with pytest.raises(PromotionRefusedError, match="was never champion"):
        rollback(language_model=pair.model, to=other.pretrained, actor=cast.leo, reason="now")


def test_rollback_to_the_champion_is_refused(pair: SimpleNamespace, cast: Any) -> None:
    with pytest.raises(PromotionRefusedError, match="champion already"):
        rollback(language_model=pair.model, to=pair.baseline, actor=cast.leo, reason="now")


def test_rollback_needs_role_and_reason(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    with pytest.raises(PromotionRefusedError, match="role releaser"):
        rollback(language_model=ready.model, to=ready.baseline, actor=cast.rob, reason="now")
    with pytest.raises(PromotionRefusedError, match="needs a reason"):
        rollback(language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="")


def test_rollback_refuses_files_that_are_gone(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    rollback(language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="now")
    shutil.rmtree(ready.candidate.directory)
    with pytest.raises(PromotionRefusedError, match=r"manifest\.json is missing"):
        rollback(language_model=ready.model, to=ready.candidate, actor=cast.leo, reason="now")
    Checkpoint.objects.filter(pk=ready.candidate.pk).update(deleted_at=timezone.now())
    ready.candidate.refresh_from_db()
    with pytest.raises(PromotionRefusedError, match="were deleted"):
        rollback(language_model=ready.model, to=ready.candidate, actor=cast.leo, reason="now")


def test_former_champions_keep_their_files(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    rollback(language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="now")
    assert "It has been champion, and a rollback may need its files." in delete_objections(
        ready.candidate
    )


def test_each_model_has_its_own_ledger(ready: SimpleNamespace, cast: Any) -> None:
    other = model_make("Other")
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    assert champion(other) == other.pretrained
    assert ledger_check(other).entry_count == 1


def test_comparing_needs_measurements(pair: SimpleNamespace) -> None:
    with pytest.raises(PromotionRefusedError, match="not measured yet"):
        champion_compare(checkpoint=pair.candidate)


def test_a_number_is_given_once(ready: SimpleNamespace, cast: Any) -> None:
    first = PromotionEvent.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        PromotionEvent.objects.create(
            language_model=ready.model,
            number=first.number,
            action=PromotionAction.PROMOTE,
            to_checkpoint=ready.candidate,
            reason="a second writer",
            evidence={},
            hash="f" * 64,
            created_at=timezone.now(),
        )


@pytest.mark.django_db(transaction=True)
def test_of_twenty_promotions_at_once_one_is_done(
    ready: SimpleNamespace, cast: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = checkpoint_make(ready.model, "Rival", ready.baseline)
    verdict_make(rival, ready.baseline)
    approval_make(rival, ready.baseline, cast.rob)
    database_to_disk(tmp_path / "db.sqlite3", monkeypatch)

    def go(candidate: Checkpoint) -> str:
        try:
            promote(checkpoint=candidate, actor=cast.leo, reason="mine is better")
        except PromotionRefusedError as refused:
            return str(refused)
        return "done"

    outcomes = at_once([partial(go, one) for one in [ready.candidate, rival] * 10])
    assert outcomes.count("done") == 1
    for told in outcomes:
        words = ("done", "Not compared with", "at the same moment", "is the champion already")
        assert any(one in told for one in words), told
    check = in_thread(lambda: ledger_check(ready.model))
    assert check.intact, check.problem
    assert check.entry_count == 2


def test_what_one_trained_oneself_is_promoted_by_others_where_the_policy_says_so(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    cast.tina.is_releaser = True
    cast.tina.save()
    verdict_make(pair.candidate, pair.baseline)
    approval_make(pair.candidate, pair.baseline, cast.rob)
    strict = {**vars(STRICT), "reviewers_an_item": 1}
    review_policy_set(actor=cast.ada, **{name: strict[name] for name in FIELDS})
    with pytest.raises(PromotionRefusedError, match="You trained it"):
        promote(checkpoint=pair.candidate, actor=cast.tina, reason="mine")
    own = client_of(cast.tina)
    assert "another releaser promotes it" in own.get("/promotions/").content.decode()
    assert "Promote Zebra nine" not in own.get("/").content.decode()
    assert "Promote Zebra nine" in client_of(cast.leo).get("/").content.decode()
    event = promote(checkpoint=pair.candidate, actor=cast.leo, reason="it kept all it knew")
    assert event.evidence["review_policy"] == "version 1"


def test_in_a_small_team_who_trained_may_promote(pair: SimpleNamespace, cast: Any) -> None:
    cast.tina.is_releaser = True
    cast.tina.save()
    verdict_make(pair.candidate, pair.baseline)
    approval_make(pair.candidate, pair.baseline, cast.rob)
    event = promote(checkpoint=pair.candidate, actor=cast.tina, reason="there is nobody else")
    assert event.evidence["review_policy"] == "lenient"


def test_what_was_rolled_back_needs_a_new_check(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    rollback(language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="it was rude")
    candidate = candidate_of(ready.candidate)
    assert not candidate.is_ready
    assert "it was rude. It takes a measurement or a spot-check" in candidate.gates[-1].detail
    with pytest.raises(PromotionRefusedError, match="made after that"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="again")
    approval_make(ready.candidate, ready.baseline, cast.rob)
    assert candidate_of(ready.candidate).is_ready


def test_checks_against_a_former_champion_are_closed_and_asked_for_anew(
    ready: SimpleNamespace, cast: Any, django_capture_on_commit_callbacks: Any
) -> None:
    other = checkpoint_make(ready.model, "Other", ready.baseline, run_by=cast.tina)
    for before in (ready.baseline, ready.candidate):
        verdict_make(other, before)
    stale = check_make(other, ready.baseline, prompts=12, votes_an_item=2)
    votes_give(stale, cast.rob)
    with django_capture_on_commit_callbacks(execute=True):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    stale.refresh_from_db()
    assert stale.state == SpotCheckState.CLOSED
    assert stale.closed_reason == "Small, pre-trained is no longer the champion; Zebra nine is."
    fresh = SpotCheck.objects.get(candidate=other, baseline=ready.candidate)
    assert (fresh.votes_an_item, fresh.items.count()) == (2, 12)  # the plan goes with it
    assert fresh.prompt_set == stale.prompt_set
    assert fresh.submitter == cast.tina
    assert waiting_for(cast.rob) == []  # neither a vote nor a decision is asked for on the old one
