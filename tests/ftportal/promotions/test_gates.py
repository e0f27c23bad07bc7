"""Each gate, open and closed, and the stage that a checkpoint has in words."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.services import verdict_rule_create
from ftportal.jobs.models import JobState
from ftportal.promotions.gates import files_gate
from ftportal.promotions.selectors import candidate_of, gates, stage
from ftportal.promotions.services import PromotionRefusedError, promote
from ftportal.reviews.services import spot_check_decide
from tests.ftportal.house import (
    check_make,
    checkpoint_make,
    job_make,
    suite_make,
    verdict_make,
    votes_give,
)


def states(checkpoint: Checkpoint) -> dict[str, str]:
    return {gate.name: gate.state for gate in gates(checkpoint)}


def details(checkpoint: Checkpoint) -> str:
    return " ".join(gate.detail for gate in gates(checkpoint))


def test_nothing_is_known_of_a_new_checkpoint(pair: SimpleNamespace) -> None:
    suite_make()
    assert states(pair.candidate) == {
        "Not champion yet": "passed",
        "Files intact": "passed",
        "Evaluation done": "waiting",
        "Against the champion": "waiting",
        "Against the pre-trained anchor": "waiting",
        "Spot-check approved": "waiting",
    }
    assert stage(pair.candidate) == "candidate"


def test_all_gates_of_a_good_candidate_pass(ready: SimpleNamespace) -> None:
    assert set(states(ready.candidate).values()) == {"passed"}
    assert candidate_of(ready.candidate).is_ready
    assert stage(ready.candidate) == "approved"


def test_changed_files_bar(pair: SimpleNamespace) -> None:
    weights = pair.candidate.directory / "model.safetensors"
    weights.write_bytes(bytes(32))
    assert files_gate(pair.candidate, thorough=False).passed  # same size: only a hash can tell
    gate = files_gate(pair.candidate, thorough=True)
    assert gate.state == "barred"
    assert "model.safetensors was changed" in gate.detail
    weights.write_bytes(b"short")
    assert "another size" in files_gate(pair.candidate, thorough=False).detail
    weights.unlink()
    assert "is missing" in files_gate(pair.candidate, thorough=False).detail


def test_a_manifest_of_other_weights_bars(pair: SimpleNamespace) -> None:
    Checkpoint.objects.filter(pk=pair.candidate.pk).update(manifest_hash="0" * 64)
    pair.candidate.refresh_from_db()
    assert files_gate(pair.candidate, thorough=False).state == "barred"


def test_deleted_files_bar(pair: SimpleNamespace) -> None:
    Checkpoint.objects.filter(pk=pair.candidate.pk).update(deleted_at=timezone.now())
    pair.candidate.refresh_from_db()
    assert states(pair.candidate)["Files intact"] == "barred"
    assert stage(pair.candidate) == "deleted"


@pytest.mark.parametrize(
    ("job_state", "measured", "gate"),
    [
        (JobState.RUNNING, False, "waiting"),
        (JobState.FAILED, False, "barred"),
        (JobState.CANCELLED, False, "barred"),
        (JobState.SUCCEEDED, True, "passed"),
    ],
)
def test_the_evaluation_gate_follows_the_measurement(
    pair: SimpleNamespace, job_state: str, measured: bool, gate: str
) -> None:
    Evaluation.objects.create(
        checkpoint=pair.candidate,
        suite=suite_make(),
        job=job_make("evaluate", job_state),
        measured=measured,
    )
    assert states(pair.candidate)["Evaluation done"] == gate


def test_a_forgotten_verdict_bars(pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline, "forgotten")
    result = states(pair.candidate)
    assert result["Against the champion"] == result["Against the pre-trained anchor"] == "barred"
    assert candidate_of(pair.candidate).word == "barred"
    assert stage(pair.candidate) == "forgotten"


def test_the_anchor_is_asked_beside_the_champion(ready: SimpleNamespace, cast: Any) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    second = checkpoint_make(ready.model, "Second", ready.candidate, run_by=cast.tina)
    verdict_make(second, ready.candidate, "retained")
    verdict_make(second, ready.baseline, "forgotten")
    result = states(second)
    assert result["Against the champion"] == "passed"
    assert result["Against the pre-trained anchor"] == "barred"
    assert stage(second) == "forgotten"


def test_only_the_policys_suite_opens_the_gate(pair: SimpleNamespace) -> None:
    suite_make()
    verdict_make(pair.candidate, pair.baseline, "retained", suite_make("Full", is_default=False))
    assert states(pair.candidate)["Against the champion"] == "waiting"
    assert "verdict by Full (Standard, version 1), but the promotion policy names Quick" in details(
        pair.candidate
    )
    verdict_make(pair.candidate, pair.baseline, "inconclusive")
    assert states(pair.candidate)["Against the champion"] == "inconclusive"


def test_another_suite_does_not_promote(ready: SimpleNamespace, cast: Any) -> None:
    full = suite_make("Full", is_default=False)
    verdict_make(ready.candidate, ready.baseline, "retained", full)
    Suite.objects.filter(is_default=True).update(is_default=False)
    Suite.objects.filter(pk=suite_make("Third", is_default=True).pk).update(is_default=True)
    with pytest.raises(PromotionRefusedError, match="by Third yet"):
        promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    Suite.objects.update(is_default=False)
    assert states(ready.candidate)["Against the champion"] == "waiting"


def test_a_verdict_by_an_earlier_rule_does_not_count(ready: SimpleNamespace) -> None:
    suite = suite_make()
    assert states(ready.candidate)["Against the champion"] == "passed"
    verdict_rule_create(name=suite.rule.name, rule=Rule(pooled_margin=0.01))
    assert states(ready.candidate)["Against the champion"] == "waiting"
    assert "Standard, version 2" in details(ready.candidate)


@pytest.mark.parametrize("suites", [("Quick", "Full"), ("Full", "Quick")])
def test_no_suite_outvotes_a_loss(pair: SimpleNamespace, suites: tuple[str, str]) -> None:
    suite_make()
    showing, keeping = (suite_make(name, is_default=False) for name in suites)
    verdict_make(pair.candidate, pair.baseline, "forgotten", showing)
    verdict_make(pair.candidate, pair.baseline, "retained", keeping)
    assert states(pair.candidate)["Against the champion"] == "barred"
    assert stage(pair.candidate) == "forgotten"


def test_the_spot_check_gate_follows_the_review(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=3)
    assert "0 of 3 prompts are judged" in details(pair.candidate)
    assert stage(pair.candidate) == "in review"
    votes_give(check, cast.rob)
    assert "a reviewer's decision is missing" in details(pair.candidate)
    spot_check_decide(spot_check=check, decided_by=cast.rob, approve=False, reason="rude")
    assert states(pair.candidate)["Spot-check approved"] == "barred"
    assert "Rejected by Rob: rude" in details(pair.candidate)
    assert stage(pair.candidate) == "rejected"


def test_a_rejection_is_not_outvoted_by_another_spot_check(
    ready: SimpleNamespace, cast: Any
) -> None:
    second = check_make(ready.candidate, ready.baseline, prompts=3)
    assert states(ready.candidate)["Spot-check approved"] == "waiting"
    votes_give(second, cast.rob)
    spot_check_decide(spot_check=second, decided_by=cast.rob, approve=False, reason="rude")
    assert states(ready.candidate)["Spot-check approved"] == "barred"


def test_an_approval_against_an_earlier_champion_does_not_count(
    ready: SimpleNamespace, cast: Any
) -> None:
    other = checkpoint_make(ready.model, "Other", ready.baseline)
    verdict_make(other, ready.baseline)
    check = check_make(other, ready.baseline, prompts=3)
    votes_give(check, cast.rob)
    spot_check_decide(spot_check=check, decided_by=cast.rob, approve=True, reason="fine")
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    result = states(other)
    assert result["Spot-check approved"] == result["Against the champion"] == "waiting"
    assert candidate_of(other).lacks_comparison
    unmeasured = checkpoint_make(ready.model, "Unmeasured", ready.baseline)
    assert not candidate_of(unmeasured).lacks_comparison  # first there has to be what to compare


def test_stages_of_champions(ready: SimpleNamespace, cast: Any) -> None:
    assert stage(ready.baseline) == "champion"
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    assert stage(ready.baseline) == "pre-trained"
    assert stage(ready.candidate) == "champion"
    assert states(ready.candidate)["Not champion yet"] == "barred"
    assert states(ready.baseline)["Not champion yet"] == "barred"


def test_every_detail_is_a_sentence_without_ids(ready: SimpleNamespace) -> None:
    for gate in gates(ready.candidate):
        assert gate.detail
        assert "object (" not in gate.detail
