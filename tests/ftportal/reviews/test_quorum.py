"""How many votes an item gets, who may give them, and whose hands it is in."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.reviews.findings import findings
from ftportal.reviews.models import ItemLease, ReviewItem, SpotCheck, Vote
from ftportal.reviews.people import progress_by_person
from ftportal.reviews.selectors import ballot_next, open_items, progress, waiting_for
from ftportal.reviews.services import (
    ReviewRefusedError,
    ballot_take,
    spot_check_assign,
    spot_check_close,
    spot_check_decide,
    spot_check_plan_change,
    vote_cast,
    vote_undo,
)
from ftportal.reviews.services.leases import HELD_FOR
from ftportal.reviews.sides import candidate_is_left
from tests.ftportal.house import check_make, votes_give
from tests.ftportal.threads import at_once, database_to_disk, in_thread


def reviewer_make(name: str) -> User:
    return User.objects.create(username=name, first_name=name.capitalize(), is_reviewer=True)


def vote(item: ReviewItem, reviewer: User, preferred: str, *, defect: str = "") -> Vote:
    """A vote by what is preferred; `defect` is why the candidate's answer is defective."""
    is_left = candidate_is_left(item, reviewer)
    side = {"candidate": "left", "baseline": "right"}.get(preferred, preferred)
    if not is_left and side in ("left", "right"):
        side = "right" if side == "left" else "left"
    return vote_cast(
        item=item,
        reviewer=reviewer,
        preference=side,
        left_defective=bool(defect) and is_left,
        left_reason=defect if is_left else "",
        right_defective=bool(defect) and not is_left,
        right_reason="" if is_left else defect,
    )


# --- a third reviewer ---------------------------------------------------------------------------


@pytest.fixture
def two(pair: SimpleNamespace, cast: Any) -> SimpleNamespace:
    """A check with one prompt for two reviewers, and Rex, who has seen nothing."""
    check = check_make(pair.candidate, pair.baseline, prompts=1, votes_an_item=2)
    return SimpleNamespace(check=check, item=check.items.get(), rex=reviewer_make("rex"))


@pytest.mark.parametrize(
    ("first", "second", "is_split"),
    [
        (("candidate", ""), ("candidate", ""), False),
        (("candidate", ""), ("baseline", ""), True),
        (("candidate", ""), ("tie", ""), True),
        (("tie", "rude"), ("tie", ""), True),
        (("tie", "rude"), ("tie", "it lies"), False),
    ],
)
def test_two_who_disagree_call_for_exactly_one_more(
    two: SimpleNamespace, cast: Any, first: Any, second: Any, is_split: bool
) -> None:
    vote(two.item, cast.rob, first[0], defect=first[1])
    vote(two.item, cast.rosa, second[0], defect=second[1])
    assert progress(two.check).has_quorum is not is_split
    assert progress(two.check).third_count == is_split
    assert [one.item_count for one in waiting_for(two.rex)] == ([1] if is_split else [0])
    if is_split:
        vote(two.item, two.rex, "tie")
        assert progress(two.check).has_quorum
    with pytest.raises(ReviewRefusedError, match="All votes are in"):
        vote(two.item, reviewer_make("rita"), "candidate")


def test_the_third_is_told_of_neither(two: SimpleNamespace, cast: Any, client_of: Any) -> None:
    vote(two.item, cast.rob, "candidate", defect="it invents a file")
    vote(two.item, cast.rosa, "baseline")
    client = client_of(two.rex)
    for name in ("vote", "spot_check"):
        body = client.get(reverse(f"reviews:{name}", args=[two.check.pk])).content.decode()
        for words in ("it invents a file", "third reviewer, because", "Rob", "Rosa", "Zebra"):
            assert words not in body


def test_the_third_decides_what_is_defective(two: SimpleNamespace, cast: Any) -> None:
    vote(two.item, cast.rob, "candidate", defect="rude")
    vote(two.item, cast.rosa, "candidate")
    vote(two.item, two.rex, "candidate")
    result = findings(two.check)
    assert (result.candidate_defect_items, result.third_count) == (0, 1)
    assert [one.reason for one in result.items[0].candidate_defects] == [
        "rude"
    ]  # said all the same


def test_a_vote_taken_back_ends_the_disagreement(two: SimpleNamespace, cast: Any) -> None:
    vote(two.item, cast.rob, "candidate")
    vote(two.item, cast.rosa, "baseline")
    vote_undo(spot_check=two.check, reviewer=cast.rosa)
    vote(two.item, cast.rosa, "candidate")
    assert progress(two.check).has_quorum


def test_three_planned_reviewers_need_no_fourth(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=1, votes_an_item=3)
    item = check.items.get()
    for reviewer, preferred in zip(
        (cast.rob, cast.rosa, reviewer_make("rex")), ("candidate", "baseline", "tie"), strict=True
    ):
        vote(item, reviewer, preferred)
    assert progress(check).has_quorum


def test_another_number_of_reviewers_holds_for_every_item(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=3)
    spot_check_plan_change(spot_check=check, actor=cast.rob, votes_an_item=2, defects_allowed=1)
    check.refresh_from_db()
    assert (check.votes_an_item, check.defects_allowed) == (2, 1)
    votes_give(check, cast.rob)
    assert progress(check).judged_count == 0


# --- leases -------------------------------------------------------------------------------------


def test_two_reviewers_are_never_given_the_same_item(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=2)
    first = ballot_take(spot_check=check, reviewer=cast.rob)
    second = ballot_take(spot_check=check, reviewer=cast.rosa)
    assert first is not None and second is not None
    assert first.item != second.item
    assert ballot_take(spot_check=check, reviewer=reviewer_make("rex")) is None
    again = ballot_take(spot_check=check, reviewer=cast.rob)
    assert again is not None and again.item == first.item


def test_a_lease_runs_out(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=1)
    held = ballot_take(spot_check=check, reviewer=cast.rob)
    assert held is not None
    assert ballot_take(spot_check=check, reviewer=cast.rosa) is None
    ItemLease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert ballot_take(spot_check=check, reviewer=cast.rosa) is not None
    vote(held.item, cast.rob, "tie")  # late, and still needed
    with pytest.raises(ReviewRefusedError, match="All votes are in"):
        vote(held.item, cast.rosa, "tie")


def test_two_votes_may_be_given_at_the_same_time(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=1, votes_an_item=2)
    for reviewer in (cast.rob, cast.rosa):
        assert ballot_take(spot_check=check, reviewer=reviewer) is not None
    assert not open_items(reviewer_make("rex")).exists()
    vote(check.items.get(), cast.rob, "tie")
    assert ItemLease.objects.get().reviewer == cast.rosa


def test_a_page_that_is_left_gives_its_item_back(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=1)
    rob, rosa = client_of(cast.rob), client_of(cast.rosa)
    address = reverse("reviews:vote", args=[check.pk])
    assert rob.get(address, follow=True).status_code == 200
    lease = ItemLease.objects.get()
    assert timedelta(0) < lease.until - timezone.now() <= HELD_FOR
    page = rosa.get(address, follow=True).content.decode()
    assert "being judged by others just now" in page
    rob.post(reverse("reviews:leave", args=[check.pk, lease.item.position + 1]))
    assert not ItemLease.objects.exists()
    assert rosa.get(address, follow=True).context["is_open"]


def test_an_item_that_was_filled_meanwhile_takes_no_more(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=2)
    item = check.items.all()[0]
    vote(item, cast.rob, "tie")
    with pytest.raises(ReviewRefusedError, match="got its votes meanwhile"):
        vote(item, cast.rosa, "tie")


@pytest.mark.parametrize("votes", [1, 2])
@pytest.mark.django_db(transaction=True)
def test_fifty_votes_at_once_leave_exactly_the_quorum(
    pair: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, votes: int
) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=2, votes_an_item=votes)
    item = check.items.all()[0]
    reviewers = [reviewer_make(f"reviewer-{number}") for number in range(50)]
    database_to_disk(tmp_path / "db.sqlite3", monkeypatch)

    def go(reviewer: User) -> str:
        try:
            vote(item, reviewer, "candidate")
        except ReviewRefusedError as refused:
            return refused.message
        return "done"

    outcomes = at_once([partial(go, one) for one in reviewers])
    assert outcomes.count("done") == votes
    assert {one for one in outcomes if one != "done"} == {
        "This prompt got its votes meanwhile, so yours was not needed."
    }
    assert in_thread(lambda: Vote.objects.filter(item=item).count()) == votes


@pytest.mark.django_db(transaction=True)
def test_reviewers_who_ask_at_once_get_different_items(
    pair: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=8)
    reviewers = [reviewer_make(f"reviewer-{number}") for number in range(10)]
    database_to_disk(tmp_path / "db.sqlite3", monkeypatch)

    def go(reviewer: User) -> int | None:
        ballot = ballot_take(spot_check=check, reviewer=reviewer)
        return ballot.item.pk if ballot else None

    given = at_once([partial(go, one) for one in reviewers])
    assert given.count(None) == 2
    assert len(set(given)) == 9


# --- assignment ---------------------------------------------------------------------------------


def test_only_those_who_were_named_judge(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=2, submitter=cast.tina)
    spot_check_assign(spot_check=check, reviewers=[cast.rosa], actor=cast.leo)
    assert waiting_for(cast.rob) == []
    assert ballot_next(check, cast.rob) is None
    with pytest.raises(ReviewRefusedError, match="given to other reviewers by name"):
        vote(check.items.all()[0], cast.rob, "tie")
    assert votes_give(check, cast.rosa) == 2
    check = check_make(pair.candidate, pair.baseline, prompts=2, submitter=cast.tina)
    spot_check_assign(spot_check=check, reviewers=[cast.rosa], actor=cast.ada)
    spot_check_assign(spot_check=check, reviewers=[], actor=cast.ada)
    assert votes_give(check, cast.rob) == 2


def test_the_third_may_be_somebody_who_was_not_named(two: SimpleNamespace, cast: Any) -> None:
    spot_check_assign(spot_check=two.check, reviewers=[cast.rob, cast.rosa], actor=cast.leo)
    assert not open_items(two.rex).exists()
    vote(two.item, cast.rob, "candidate")
    vote(two.item, cast.rosa, "baseline")
    vote(two.item, two.rex, "tie")
    assert progress(two.check).has_quorum


def test_who_may_name_whom(pair: SimpleNamespace, cast: Any) -> None:
    check = check_make(
        pair.candidate, pair.baseline, prompts=2, submitter=cast.tina, votes_an_item=2
    )
    for actor in (cast.rob, cast.otto, cast.tina):
        with pytest.raises(ReviewRefusedError, match="named by an administrator or releaser"):
            spot_check_assign(spot_check=check, reviewers=[], actor=actor)
    cast.ada.is_reviewer = True  # then she would learn by a refusal who started the run
    cast.ada.save()
    with pytest.raises(ReviewRefusedError, match="who does not judge the check"):
        spot_check_assign(spot_check=check, reviewers=[], actor=cast.ada)
    with pytest.raises(ReviewRefusedError, match="Otto does not have the role reviewer"):
        spot_check_assign(spot_check=check, reviewers=[cast.otto, cast.rob], actor=cast.leo)
    cast.tina.is_reviewer = True
    cast.tina.save()
    with pytest.raises(ReviewRefusedError, match="Tina started the run"):
        spot_check_assign(spot_check=check, reviewers=[cast.tina, cast.rob], actor=cast.leo)
    with pytest.raises(ReviewRefusedError, match="needs 2 reviewers, and 1 is named"):
        spot_check_assign(spot_check=check, reviewers=[cast.rob], actor=cast.leo)


def test_progress_by_person_is_for_who_does_not_judge(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    check = check_make(pair.candidate, pair.baseline, prompts=3, submitter=cast.tina)
    leo, page = client_of(cast.leo), reverse("reviews:spot_check", args=[check.pk])
    answer = leo.post(
        reverse("reviews:assign", args=[check.pk]), {"reviewers": ["rob", "rosa"]}, follow=True
    )
    assert "Rob, Rosa judge it." in answer.content.decode()
    votes_give(check, cast.rob, limit=2)
    ballot_take(spot_check=check, reviewer=cast.rosa)
    rows = {str(row.person): row for row in progress_by_person(check)}
    assert [rows[name].judged_count for name in ("Rob", "Rosa")] == [2, 0]
    assert [rows[name].is_at_it for name in ("Rob", "Rosa")] == [False, True]
    assert "has a prompt open" in leo.get(page).content.decode()
    for reviewer in (cast.rob, cast.rosa):
        body = client_of(reviewer).get(page).content.decode()
        assert "has a prompt open" not in body
        assert reverse("reviews:assign", args=[check.pk]) not in body
    unknown = leo.post(reverse("reviews:assign", args=[check.pk]), {"reviewers": ["otto"]})
    assert "otto is not a reviewer" in leo.get(unknown.url).content.decode()


# --- the end ------------------------------------------------------------------------------------


def test_a_check_that_cannot_end_is_closed_by_an_administrator(
    two: SimpleNamespace, cast: Any, client_of: Any, pair: SimpleNamespace
) -> None:
    vote(two.item, cast.rob, "candidate")
    address = reverse("reviews:close", args=[two.check.pk])
    with pytest.raises(ReviewRefusedError, match="role administrator"):
        spot_check_close(spot_check=two.check, actor=cast.leo, reason="too few people")
    client = client_of(cast.ada)
    assert "needs a reason" in client.post(address, follow=True).content.decode()
    page = client.post(address, {"reason": "there is no third reviewer"}, follow=True)
    assert "Closed without a decision" in page.content.decode()
    assert "there is no third reviewer" in page.content.decode()
    with pytest.raises(ReviewRefusedError, match="not open for votes"):
        vote(two.item, cast.rosa, "candidate")
    with pytest.raises(ReviewRefusedError, match=r"It was closed\. there is no third"):
        spot_check_decide(spot_check=two.check, decided_by=cast.rob, approve=True, reason="fine")
    assert waiting_for(cast.rosa) == []
    assert "Closed" in client_of(cast.otto).get(reverse("reviews:reviews")).content.decode()
    again = check_make(pair.candidate, pair.baseline, prompts=1)
    assert SpotCheck.objects.filter(candidate=pair.candidate).count() == 2
    assert again.state == "open"


def test_names_of_a_closed_check_are_kept_from_who_judges_another(
    two: SimpleNamespace, cast: Any, client_of: Any, pair: SimpleNamespace
) -> None:
    spot_check_close(spot_check=two.check, actor=cast.ada, reason="too few people")
    page = reverse("reviews:spot_check", args=[two.check.pk])
    assert "Zebra nine" in client_of(cast.rob).get(page).content.decode()
    check_make(pair.candidate, pair.baseline, prompts=1)
    assert "Zebra nine" not in client_of(cast.rob).get(page).content.decode()
    assert "Zebra nine" not in client_of(cast.rob).get("/reviews/").content.decode()
    assert "Zebra nine" in client_of(cast.otto).get(page).content.decode()
