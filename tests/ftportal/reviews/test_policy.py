"""The policy: which holds and why, who changes it, and what it changes."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.accounts.models import User
from ftportal.audit.models import AuditEntry
from ftportal.reviews.models import ReviewPolicy
from ftportal.reviews.policy import LENIENT, STRICT, policy_in_force
from ftportal.reviews.selectors import waiting_for
from ftportal.reviews.services import (
    ReviewRefusedError,
    review_policy_set,
    spot_check_decide,
    spot_check_open,
)
from ftportal.reviews.services.policies import FIELDS
from tests.ftportal.house import answers_give, check_make, prompts_make, votes_give


def policy_set(actor: User, **changes: Any) -> ReviewPolicy:
    fields = {name: getattr(LENIENT, name) for name in FIELDS}
    return review_policy_set(actor=actor, **(fields | changes))


def test_a_small_team_gets_the_lenient_one_and_a_larger_the_strict(cast: Any) -> None:
    policy = policy_in_force()
    assert policy.name == "lenient"
    assert "There are 2 reviewers, so the lenient one holds." in policy.why
    for name in ("rex", "rita"):
        User.objects.create(username=name, is_reviewer=True)
    policy = policy_in_force()
    assert policy.name == "strict"
    assert "There are 4 reviewers, so the strict one holds." in policy.why
    User.objects.filter(username="rita").update(is_active=False)
    assert policy_in_force().name == "lenient"


def test_what_an_administrator_sets_holds_by_versions(cast: Any) -> None:
    first = policy_set(cast.ada, reviewers_an_item=2)
    assert (first.version, policy_in_force().reviewers_an_item) == (1, 2)
    assert policy_in_force().why == "Ada put it in force."
    second = policy_set(cast.ada, reviewers_an_item=2, defect_rate_percent=5.0)
    assert second.version == 2
    entry = AuditEntry.objects.get(action="policy.changed", target_key=str(second.pk))
    assert (entry.before, entry.after) == (
        {"defect_rate_percent": 10},
        {"defect_rate_percent": 5.0},
    )
    for actor in (cast.leo, cast.rob, cast.tina):
        with pytest.raises(ReviewRefusedError, match="role administrator"):
            policy_set(actor)


def test_the_page_says_which_holds_and_why(client_of: Any, cast: Any) -> None:
    address = reverse("reviews:policy")
    body = client_of(cast.otto).get(address).content.decode()
    assert "The lenient policy is in force." in body
    assert "One reviewer judges each prompt." in body
    assert "An administrator can change it." in body
    assert "<form" not in body.split('id="main"')[1]
    ada = client_of(cast.ada)
    wrong = ada.post(address, {"reviewers_an_item": "0", "defect_rate_percent": "5"})
    assert wrong.status_code == 422
    assert not ReviewPolicy.objects.exists()
    data = {"reviewers_an_item": "2", "defect_rate_percent": "5", "names_reviewers": "on"}
    body = ada.post(address, data, follow=True).content.decode()
    assert "Version 1 is in force." in body
    assert "Who has judged a check does not decide on it." in body
    assert "Exports of votes name the reviewers." in body
    assert "Without it the lenient policy would hold." in body
    assert "version 1 review policy" in client_of(cast.otto).get("/reviews/").content.decode()
    assert "does not promote what they trained" in (
        client_of(cast.otto).get("/promotions/").content.decode() + body
    )


def test_a_plan_needs_as_many_reviewers_as_the_policy_says(
    pair: SimpleNamespace, cast: Any
) -> None:
    policy_set(cast.ada, reviewers_an_item=2)
    opened = {
        "candidate": pair.candidate,
        "baseline": pair.baseline,
        "prompt_set": prompts_make(3),
        "submitter": None,
    }
    with pytest.raises(ReviewRefusedError, match="asks for 2 reviewers for each prompt"):
        spot_check_open(**opened, votes_an_item=1)
    assert spot_check_open(**opened).votes_an_item == 2


def test_who_voted_decides_only_where_the_check_was_opened_so(
    pair: SimpleNamespace, cast: Any
) -> None:
    policy_set(cast.ada, voters_may_decide=False)
    check = check_make(pair.candidate, pair.baseline, prompts=2, submitter=cast.tina)
    votes_give(check, cast.rob)
    policy_set(cast.ada)  # changes nothing for what is open
    assert waiting_for(cast.rob) == []
    assert [one.spot_check for one in waiting_for(cast.rosa)] == [check]
    assert [one.spot_check for one in waiting_for(cast.leo)] == [check]
    decision: dict[str, Any] = {"spot_check": check, "approve": True, "reason": "as good"}
    with pytest.raises(ReviewRefusedError, match="who has judged it does not decide"):
        spot_check_decide(decided_by=cast.rob, **decision)
    with pytest.raises(ReviewRefusedError, match="needs the role reviewer or releaser"):
        spot_check_decide(decided_by=cast.otto, **decision)
    assert spot_check_decide(decided_by=cast.leo, **decision).decided_by == cast.leo


def test_a_releaser_decides_on_the_page_where_voters_do_not(
    pair: SimpleNamespace, cast: Any, client_of: Any
) -> None:
    policy_set(cast.ada, voters_may_decide=False)
    check = check_make(pair.candidate, pair.baseline, prompts=2, submitter=cast.tina)
    votes_give(check, cast.rob)
    page = reverse("reviews:spot_check", args=[check.pk])
    assert (
        "A reviewer who has not judged it decides" in client_of(cast.rob).get(page).content.decode()
    )
    leo = client_of(cast.leo)
    assert "Decide on Zebra nine" in leo.get("/").content.decode()
    done = leo.post(
        reverse("reviews:decide", args=[check.pk]),
        {"decision": "approve", "reason": "as good"},
        follow=True,
    )
    assert "Approved by Leo" in done.content.decode()


# --- plans that prove something -----------------------------------------------------------------


def opened(pair: SimpleNamespace, pool: Any, **plan: Any) -> Any:
    return spot_check_open(
        candidate=pair.candidate,
        baseline=pair.baseline,
        prompt_set=pool,
        submitter=None,
        **plan,
    )


def test_a_pool_gives_what_the_policy_needs_drawn_at_random(pair: SimpleNamespace) -> None:
    pool = prompts_make(40, is_random=True)
    check = opened(pair, pool)
    asked = list(check.items.values_list("prompt__position", flat=True))
    assert len(set(asked)) == 29  # theory: 0 defects in 29 show 10 %
    assert check.defects_allowed == 0
    assert asked != sorted(asked)  # but for one in 10^30
    # The engine is asked what was drawn, and its answers fit.
    from ftportal.reviews.followups import generate_config

    prompts = generate_config(check.baseline_answers.job)["prompts"]
    assert {one["sha256"] for one in prompts} == set(
        check.items.values_list("prompt__sha256", flat=True)
    )
    answers_give(check)
    assert check.candidate_answers.generations.count() == 29


def test_the_strict_policy_draws_more(pair: SimpleNamespace, cast: Any) -> None:
    policy_set(cast.ada, defect_rate_percent=STRICT.defect_rate_percent)
    assert opened(pair, prompts_make(70, is_random=True)).items.count() == 59  # theory


def test_a_plan_by_hand_has_to_prove_what_the_policy_asks(pair: SimpleNamespace) -> None:
    pool = prompts_make(50, is_random=True)
    with pytest.raises(ReviewRefusedError, match=r"29 prompts with 1 defect allowed .* 15\.34 %"):
        opened(pair, pool, item_count=29, defects_allowed=1)
    with pytest.raises(ReviewRefusedError, match=r"Draw 46 prompts"):  # theory
        opened(pair, pool, item_count=29, defects_allowed=1)
    with pytest.raises(ReviewRefusedError, match="upload a larger pool"):
        opened(pair, pool, item_count=50, defects_allowed=2)
    with pytest.raises(ReviewRefusedError, match="cannot be drawn"):
        opened(pair, pool, item_count=51)
    check = opened(pair, pool, item_count=46, defects_allowed=1)
    assert (check.items.count(), check.defects_allowed) == (46, 1)


def test_a_small_pool_is_asked_as_a_whole_and_says_what_it_shows(
    pair: SimpleNamespace, client_of: Any, cast: Any
) -> None:
    check = opened(pair, prompts_make(20, is_random=True))
    assert check.items.count() == 20
    body = client_of(cast.otto).get(reverse("reviews:spot_check", args=[check.pk]))
    assert "0 defects in 20 prompts: at most 13.91 % defective (95 %)" in body.content.decode()


def test_the_chooser_shows_the_trade(pair: SimpleNamespace, client_of: Any, cast: Any) -> None:
    prompts_make(8)
    pool = prompts_make(100, is_random=True, name="Real use")
    client, address = client_of(cast.tina), reverse("reviews:open", args=[pair.candidate.pk])
    body = client.get(address).content.decode()
    assert "No population claim" in body
    assert "What other plans would prove" not in body
    query = {"prompt_set": pool.name, "votes_an_item": "1", "item_count": "59"}
    page = client.get(address, query, headers={"HX-Request": "true"})
    body = page.content.decode()
    assert "<html" not in body
    assert "at most 10.29 %" not in body
    rows = {row.item_count: list(row.bounds) for row in page.context["trades"]}
    assert rows[59][0] == pytest.approx(0.04950, abs=5e-5)  # theory: 4.95 %
    assert rows[93][1] == pytest.approx(0.0500, abs=5e-5)  # theory: 5.00 %
    assert rows[100][0] == pytest.approx(0.0295, abs=5e-5)  # theory: 2.95 %
    assert max(rows) == 100
    assert "4.95 %" in body and "at most are defective" in body
    assert "How often a candidate passes" in body
    wrong = client.get(address, query | {"defects_allowed": "9"}).content.decode()
    assert "What other plans would prove" in wrong
    assert "asks for 10 %" in wrong
    answer = client.post(address, query | {"defects_allowed": "0"})
    assert answer.status_code == 302
    opened_page = client.get(answer.url).content.decode()
    assert "0 defects in 59 prompts: at most 4.95 % defective (95 %)" in opened_page
    assert "Every check draws its answers anew" in opened_page
