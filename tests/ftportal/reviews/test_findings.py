"""What the votes say once names are shown."""

from types import SimpleNamespace
from typing import Any

import pytest
from scipy.stats import binomtest

from ftportal.checkpoints.services import alias_set
from ftportal.reviews.champions import champions_answers
from ftportal.reviews.findings import findings
from ftportal.reviews.models import SpotCheck, Vote
from ftportal.reviews.services import spot_check_decide, spot_check_open
from tests.ftportal.house import (
    answers_give,
    check_make,
    checkpoint_make,
    prompts_make,
    votes_give,
)


def vote(check: SpotCheck, at: int, reviewer: Any, preferred: str, **defects: str) -> None:
    """One vote by position, with the candidate always on the left."""
    side = {"candidate": "left", "baseline": "right"}.get(preferred, preferred)
    Vote.objects.create(
        item=check.items.get(position=at),
        reviewer=reviewer,
        candidate_is_left=True,
        preference=side,
        left_defective="candidate" in defects,
        left_reason=defects.get("candidate", ""),
        right_defective="baseline" in defects,
        right_reason=defects.get("baseline", ""),
    )


def test_defects_of_both_sides_and_what_counts(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=4)
    vote(check, 0, cast.rob, "baseline", candidate="wrong")
    vote(check, 1, cast.rob, "both_bad", candidate="empty", baseline="empty")
    vote(check, 2, cast.rob, "candidate", baseline="rude")
    vote(check, 3, cast.rob, "tie")
    result = findings(check)
    assert result.candidate_defect_items == 2
    assert result.baseline_defect_items == 2
    assert result.counted_defects == 1  # only the first is new
    assert result.candidate_bound is None
    assert [d.reason for d in result.items[0].candidate_defects] == ["wrong"]
    assert (result.total.candidate, result.total.baseline) == (1, 1)
    assert (result.total.tie, result.total.both_bad) == (1, 1)
    assert result.sign_test_p == 1.0
    assert not result.within_plan


def test_random_prompts_count_every_defect_and_give_the_bound(
    pair: SimpleNamespace, cast: Any
) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=20, is_random=True)
    votes_give(check, cast.rob)
    result = findings(check)
    assert result.candidate_bound == pytest.approx(0.1391, abs=5e-5)  # 0 of 20, theory
    assert result.within_plan
    assert result.sign_test_p == pytest.approx(2 * 0.5**20)


def test_a_split_vote_is_a_tie_and_any_flag_is_a_defect(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=2, votes_an_item=2)
    vote(check, 0, cast.rob, "candidate")
    vote(check, 0, cast.rosa, "baseline", candidate="lies")
    vote(check, 1, cast.rob, "candidate")
    vote(check, 1, cast.rosa, "tie")
    result = findings(check)
    assert [one.winner for one in result.items] == ["tie", "candidate"]
    assert result.candidate_defect_items == 1


def test_agreement_is_the_textbooks(pair: SimpleNamespace, cast: Any) -> None:
    # 0100000010 against 1110010000: alpha .0952381 (theory), six of ten pairs agree.
    check = check_make(pair.candidate, pair.baseline, prompts=10, votes_an_item=2)
    for reviewer, row in ((cast.rob, "0100000010"), (cast.rosa, "1110010000")):
        for at, bit in enumerate(row):
            vote(check, at, reviewer, "candidate" if bit == "1" else "baseline")
    preference, defective = findings(check).agreements
    assert preference.alpha == pytest.approx(0.0952381, abs=1e-7)
    assert preference.raw == pytest.approx(0.6)
    assert defective.raw == 1.0
    assert defective.alpha is None  # one answer throughout: undefined, not perfect


def test_side_bias_by_reviewer(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=6)
    for at in range(6):
        vote(check, at, cast.rob, "candidate")
    (bias,) = findings(check).side_biases
    assert (bias.reviewer, bias.left_wins, bias.right_wins) == (cast.rob, 6, 0)
    assert bias.p == pytest.approx(2 / 64)


def test_preferences_by_group(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=6)
    votes_give(check, cast.rob)
    rows = findings(check).preferences
    assert [row.group for row in rows] == [
        "Code",
        "Filesystem reasoning",
        "Conversation coherence",
    ]
    assert [row.candidate for row in rows] == [2, 2, 2]


def test_shares_come_with_their_tests(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=9, votes_an_item=2)
    for at in range(9):
        vote(check, at, cast.rob, "candidate" if at < 6 else "tie")
        vote(check, at, cast.rosa, "candidate" if at < 5 else "baseline")
    result = findings(check)
    # Six prompts for the candidate but one of them split, three for the baseline, none bad.
    assert (result.total.candidate, result.total.baseline, result.total.tie) == (5, 3, 1)
    assert result.total.share == pytest.approx(5 / 8)
    assert result.sign_test_p == pytest.approx(binomtest(5, 8).pvalue)
    together, rob, rosa = result.side_biases
    assert together.reviewer is None
    assert (together.left_wins, together.right_wins) == (11, 4)
    assert together.left_share == pytest.approx(11 / 15)
    assert together.p == pytest.approx(binomtest(11, 15).pvalue)
    assert (rob.left_share, rosa.left_wins) == (1.0, 5)


def test_defects_by_group_with_their_texts(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=6)
    vote(check, 0, cast.rob, "baseline", candidate="no such module")
    vote(check, 1, cast.rob, "tie")
    vote(check, 2, cast.rob, "candidate", baseline="rude")
    vote(check, 3, cast.rob, "baseline", candidate="it loops", baseline="it loops too")
    groups = findings(check).defect_groups["Prompt group"]
    assert [(one.name, one.candidate_count, one.baseline_count) for one in groups] == [
        ("Code", 2, 1),
        ("Conversation coherence", 0, 1),
    ]
    assert [one.reason for one in groups[0].defects] == [
        "no such module",
        "it loops",
        "it loops too",
    ]
    assert findings(check_make(pair.candidate, pair.baseline, prompts=1)).defect_groups == {}


def test_what_a_result_proves(pair: SimpleNamespace, cast: Any, client_of: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=20, is_random=True)
    votes_give(check, cast.rob)
    assert findings(check).proof == "0 defects in 20 prompts: at most 13.91 % defective (95 %)"
    body = client_of(cast.otto).get(f"/reviews/{check.pk}/").content.decode()
    assert body.count("at most 13.91 % defective (95 %)") == 2  # the plan and the result


def test_how_the_champions_answered_the_same_prompts(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    prompts = prompts_make(3)

    def check_of(candidate: Any, baseline: Any) -> SpotCheck:
        check = spot_check_open(
            candidate=candidate, baseline=baseline, prompt_set=prompts, submitter=None
        )
        answers_give(check)
        votes_give(check, cast.rob)
        return spot_check_decide(
            spot_check=check, decided_by=cast.rob, approve=True, reason="as good"
        )

    first = check_of(pair.candidate, pair.baseline)
    alias_set(language_model=pair.model, name="champion", checkpoint=pair.candidate)
    loser = checkpoint_make(pair.model, "Loser", pair.baseline)
    second = check_of(loser, pair.candidate)
    third = check_of(checkpoint_make(pair.model, "Newest", pair.candidate), pair.candidate)
    sha256 = prompts.prompts.all()[0].sha256
    answers = champions_answers(third)[sha256]
    # The candidate became champion, and answered last in the second check; the loser never was.
    assert [one.checkpoint for one in answers] == [pair.baseline, pair.candidate]
    assert [one.answer.generation_set for one in answers] == [
        first.baseline_answers,
        second.baseline_answers,
    ]
    page = client_of(cast.otto).get(f"/reviews/{third.pk}/").content.decode()
    assert page.count("How champions answered it in other checks") == 3
