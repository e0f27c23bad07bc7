"""Opening, voting, taking back, deciding: what is allowed and each refusal."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from ftportal.audit.models import AuditEntry
from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import Job
from ftportal.reviews.followups import generate_config
from ftportal.reviews.models import Generation, GenerationSet, SpotCheck, SpotCheckState, Vote
from ftportal.reviews.selectors import ballot_next, progress, waiting_for
from ftportal.reviews.services import (
    JudgedBeforeError,
    ReviewRefusedError,
    spot_check_decide,
    spot_check_open,
    spot_check_plan_change,
    vote_cast,
    vote_change,
    vote_undo,
)
from tests.ftportal.house import (
    answers_give,
    check_make,
    checkpoint_make,
    model_make,
    prompts_make,
    votes_give,
)


def cast_vote(item: Any, reviewer: Any, **changes: Any) -> Vote:
    judgement: dict[str, Any] = {
        "preference": "left",
        "left_defective": False,
        "left_reason": "",
        "right_defective": False,
        "right_reason": "",
    }
    return vote_cast(item=item, reviewer=reviewer, **(judgement | changes))


def decide(spot_check: SpotCheck, decided_by: Any) -> None:
    spot_check_decide(spot_check=spot_check, decided_by=decided_by, approve=False, reason="no")


def test_opening_asks_both_sides_once_and_waits_for_them(pair: SimpleNamespace, cast: Any) -> None:
    prompt_set = prompts_make(3)
    wanted = {
        "candidate": pair.candidate,
        "baseline": pair.baseline,
        "prompt_set": prompt_set,
        "submitter": cast.tina,
    }
    spot_check = spot_check_open(**wanted)
    assert spot_check.state == SpotCheckState.GENERATING
    assert spot_check_open(**wanted) == spot_check
    assert Job.objects.filter(kind="generate").count() == 2
    answers_give(spot_check)
    assert spot_check.state == SpotCheckState.OPEN
    assert spot_check.opened_at is not None
    assert Generation.objects.count() == 6


def test_the_prompt_set_says_how_long_answers_are(pair: SimpleNamespace) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=2)
    for answers in (spot_check.candidate_answers, spot_check.baseline_answers):
        assert answers.settings["max_new_tokens"] == answers.prompt_set.max_new_tokens == 64
        assert generate_config(answers.job)["max_new_tokens"] == 64
    answer = Generation.objects.filter(generation_set=spot_check.candidate_answers)[0]
    assert (answer.token_count, answer.is_cut) == (9, False)


def test_no_answers_are_used_twice_and_both_sides_share_a_seed(
    pair: SimpleNamespace, cast: Any
) -> None:
    prompt_set = prompts_make(3)
    second = checkpoint_make(pair.model, "Second", pair.baseline)
    checks = [
        spot_check_open(
            candidate=candidate, baseline=pair.baseline, prompt_set=prompt_set, submitter=None
        )
        for candidate in (pair.candidate, second)
    ]
    assert GenerationSet.objects.count() == 4
    seeds = [
        {check.candidate_answers.settings["seed"], check.baseline_answers.settings["seed"]}
        for check in checks
    ]
    assert [len(one) for one in seeds] == [1, 1]
    assert seeds[0] != seeds[1]  # but for one in two thousand million
    assert all(one.settings["temperature"] > 0 for one in GenerationSet.objects.all())


def test_an_engine_that_leaves_a_prompt_out_opens_nothing(pair: SimpleNamespace) -> None:
    from ftportal.reviews.followups import generate_finish
    from ftportal.reviews.generation import AnswersMissingError

    spot_check = spot_check_open(
        candidate=pair.candidate,
        baseline=pair.baseline,
        prompt_set=prompts_make(3),
        submitter=None,
    )
    job = spot_check.candidate_answers.job
    job.state = "succeeded"
    job.save()
    job.output_directory.mkdir(parents=True)
    (job.output_directory / "generations.jsonl").write_text("")
    with pytest.raises(AnswersMissingError, match="3 of 3 prompts"):
        generate_finish(job)
    spot_check.refresh_from_db()
    assert spot_check.state == SpotCheckState.GENERATING


def test_a_checkpoint_is_not_compared_with_itself(pair: SimpleNamespace) -> None:
    with pytest.raises(ReviewRefusedError, match="itself"):
        spot_check_open(
            candidate=pair.baseline,
            baseline=pair.baseline,
            prompt_set=prompts_make(),
            submitter=None,
        )


def test_checkpoints_of_two_models_are_not_compared(pair: SimpleNamespace) -> None:
    other = model_make("Other").pretrained
    with pytest.raises(ReviewRefusedError, match="different models"):
        spot_check_open(
            candidate=pair.candidate, baseline=other, prompt_set=prompts_make(), submitter=None
        )


def test_a_deleted_checkpoint_answers_nothing(pair: SimpleNamespace) -> None:
    Checkpoint.objects.filter(pk=pair.candidate.pk).update(deleted_at=timezone.now())
    pair.candidate.refresh_from_db()
    with pytest.raises(ReviewRefusedError, match="deleted"):
        spot_check_open(
            candidate=pair.candidate,
            baseline=pair.baseline,
            prompt_set=prompts_make(),
            submitter=None,
        )


def test_a_vote_records_the_sides_as_they_were_seen(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=16)
    assert votes_give(spot_check, cast.rob) == 16
    votes = Vote.objects.all()
    assert {vote.preferred for vote in votes} == {"candidate"}
    assert {vote.candidate_is_left for vote in votes} == {True, False}


def test_the_submitter_never_counts(pair: SimpleNamespace, cast: Any) -> None:
    cast.tina.is_reviewer = True
    cast.tina.save()
    spot_check = check_make(pair.candidate, pair.baseline, submitter=cast.tina)
    assert waiting_for(cast.tina) == []
    assert ballot_next(spot_check, cast.tina) is None
    with pytest.raises(ReviewRefusedError, match="You started the run"):
        cast_vote(spot_check.items.first(), cast.tina)
    votes_give(spot_check, cast.rob)
    with pytest.raises(ReviewRefusedError, match="You started the run"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.tina, approve=True, reason="fine")


def test_votes_need_the_role(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    for user in (cast.otto, cast.leo, cast.ada):
        with pytest.raises(ReviewRefusedError, match="role reviewer"):
            cast_vote(spot_check.items.first(), user)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_defect_needs_a_reason(pair: SimpleNamespace, cast: Any, side: str) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    with pytest.raises(ReviewRefusedError, match=rf"{side} answer .* without a reason"):
        cast_vote(
            spot_check.items.first(),
            cast.rob,
            **{f"{side}_defective": True, f"{side}_reason": "  "},
        )


def test_a_reason_without_a_defect_is_dropped(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    vote = cast_vote(spot_check.items.first(), cast.rob, left_reason="no, it is fine")
    assert vote.left_reason == ""


def test_nobody_votes_twice(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    cast_vote(spot_check.items.first(), cast.rob)
    with pytest.raises(JudgedBeforeError, match="judged this prompt before"):
        cast_vote(spot_check.items.first(), cast.rob, preference="right")
    assert Vote.objects.get().preference == "left"


def test_a_form_that_is_sent_twice_is_one_vote(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=1)
    defect = {"left_defective": True, "left_reason": " rude ", "note": "hm "}
    first = cast_vote(spot_check.items.first(), cast.rob, **defect)
    again = cast_vote(spot_check.items.first(), cast.rob, **defect)  # all votes are in by now
    assert first == again
    assert AuditEntry.objects.filter(action="review.voted").count() == 1
    decide(spot_check, cast.rosa)
    assert cast_vote(spot_check.items.first(), cast.rob, **defect) == first


def test_a_vote_is_changed_until_the_decision(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=2)
    item = spot_check.items.all()[0]
    said: dict[str, Any] = {"preference": "tie", "right_defective": True, "right_reason": "wrong"}
    with pytest.raises(ReviewRefusedError, match="taken back"):
        vote_change(item=item, reviewer=cast.rob, preference="tie")
    cast_vote(item, cast.rob)
    changed = vote_change(item=item, reviewer=cast.rob, **said, right_category="fact")
    assert (changed.preference, changed.right_category, changed.left_reason) == ("tie", "fact", "")
    assert changed.changed_at is not None
    assert not changed.names_were_visible
    same = vote_change(item=item, reviewer=cast.rob, **said, right_category="fact")
    assert same.changed_at == changed.changed_at
    assert AuditEntry.objects.filter(action="review.vote_changed").count() == 1
    votes_give(spot_check, cast.rob)
    assert progress(spot_check).has_quorum
    late = vote_change(item=item, reviewer=cast.rob, preference="both_bad")
    assert late.names_were_visible
    decide(spot_check, cast.rosa)
    with pytest.raises(ReviewRefusedError, match="Rosa has decided this spot-check meanwhile"):
        vote_change(item=item, reviewer=cast.rob, preference="left")


def test_an_unknown_preference_is_refused(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    with pytest.raises(ReviewRefusedError, match="No preference"):
        cast_vote(spot_check.items.first(), cast.rob, preference="middle")


def test_no_votes_before_the_answers_are_there(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = spot_check_open(
        candidate=pair.candidate,
        baseline=pair.baseline,
        prompt_set=prompts_make(2),
        submitter=None,
    )
    with pytest.raises(ReviewRefusedError, match="not open"):
        cast_vote(spot_check.items.first(), cast.rob)


def test_an_item_with_its_votes_is_offered_to_nobody_else(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=6)
    votes_give(spot_check, cast.rob, limit=4)
    assert [one.item_count for one in waiting_for(cast.rosa)] == [2]
    votes_give(spot_check, cast.rosa)
    assert progress(spot_check).has_quorum
    assert progress(spot_check).vote_count == 6


def test_quorum_needs_all_votes_of_every_item(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, votes_an_item=2)
    votes_give(spot_check, cast.rob)
    assert not progress(spot_check).has_quorum
    assert progress(spot_check).judged_count == 0
    assert [one.item_count for one in waiting_for(cast.rosa)] == [6]
    votes_give(spot_check, cast.rosa)
    assert progress(spot_check).has_quorum


def test_after_quorum_nobody_votes_any_more(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    votes_give(spot_check, cast.rob)
    with pytest.raises(ReviewRefusedError, match="names may be seen"):
        cast_vote(spot_check.items.first(), cast.rosa)


def test_a_vote_can_be_taken_back_until_the_decision(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=3)
    votes_give(spot_check, cast.rob, limit=2)
    last = Vote.objects.order_by("pk").last()
    assert last is not None
    item = vote_undo(spot_check=spot_check, reviewer=cast.rob)
    assert item == last.item
    assert Vote.objects.count() == 1
    votes_give(spot_check, cast.rob)
    assert not Vote.objects.filter(names_were_visible=True).exists()
    first = Vote.objects.first()
    assert first is not None
    assert vote_undo(spot_check=spot_check, reviewer=cast.rob, item=first.item) == first.item
    assert not progress(spot_check).has_quorum  # so names are hidden again
    assert cast_vote(first.item, cast.rob).names_were_visible
    decide(spot_check, cast.rosa)
    with pytest.raises(ReviewRefusedError, match="Rosa has decided"):
        vote_undo(spot_check=spot_check, reviewer=cast.rob)
    assert Vote.objects.count() == 3


def test_nobody_takes_back_the_votes_of_others(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    votes_give(spot_check, cast.rob, limit=1)
    with pytest.raises(ReviewRefusedError, match="no vote of yours"):
        vote_undo(spot_check=spot_check, reviewer=cast.rosa)


def test_the_plan_changes_only_before_the_first_vote(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    changed = spot_check_plan_change(spot_check=spot_check, actor=cast.rob, votes_an_item=2)
    assert changed.votes_an_item == 2
    with pytest.raises(ReviewRefusedError, match="from 1 to 9"):
        spot_check_plan_change(spot_check=spot_check, actor=cast.rob, votes_an_item=0)
    cast.tina.is_reviewer = True
    SpotCheck.objects.filter(pk=spot_check.pk).update(submitter=cast.tina)
    with pytest.raises(ReviewRefusedError, match="You started the run"):
        spot_check_plan_change(spot_check=spot_check, actor=cast.tina, votes_an_item=1)
    votes_give(spot_check, cast.rob, limit=1)
    with pytest.raises(ReviewRefusedError, match="fixed with the first vote"):
        spot_check_plan_change(spot_check=spot_check, actor=cast.rob, votes_an_item=1)


def test_a_decision_waits_for_all_votes(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    votes_give(spot_check, cast.rob, limit=4)
    with pytest.raises(ReviewRefusedError, match="2 of 6 prompts still lack votes"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.rob, approve=True, reason="fine")


def test_a_decision_needs_a_reason_and_the_role(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    votes_give(spot_check, cast.rob)
    with pytest.raises(ReviewRefusedError, match="needs a reason"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.rob, approve=True, reason=" ")
    with pytest.raises(ReviewRefusedError, match="role reviewer"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.leo, approve=True, reason="fine")


def test_a_decision_is_recorded_once(pair: SimpleNamespace, cast: Any) -> None:
    spot_check = check_make(pair.candidate, pair.baseline)
    votes_give(spot_check, cast.rob)
    decided = spot_check_decide(
        spot_check=spot_check, decided_by=cast.rosa, approve=True, reason=" as good "
    )
    assert decided.state == SpotCheckState.APPROVED
    assert decided.decision_reason == "as good"
    with pytest.raises(ReviewRefusedError, match="Rosa has decided already: approved"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.rob, approve=False, reason="no")


def test_more_defects_than_the_plan_allows_can_only_be_rejected(
    pair: SimpleNamespace, cast: Any
) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=12)
    votes_give(spot_check, cast.rob, defects=2)
    with pytest.raises(ReviewRefusedError, match=r"2 defects to count.* allows 1"):
        spot_check_decide(spot_check=spot_check, decided_by=cast.rob, approve=True, reason="fine")
    decided = spot_check_decide(
        spot_check=spot_check, decided_by=cast.rob, approve=False, reason="it makes things up"
    )
    assert decided.state == SpotCheckState.REJECTED
