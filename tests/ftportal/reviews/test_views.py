"""The queue, the spot-check page, the voting page and the panel: who may, and what is hidden."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.jobs.models import Job
from ftportal.reviews.models import SpotCheck, SpotCheckState, Vote
from ftportal.reviews.services import spot_check_open
from tests.ftportal.house import check_make, prompts_make, votes_give

POST_ONLY = ("undo", "plan", "retry")
GET_ONLY = ("spot_check", "checkpoint_panel", "vote")


def url(name: str, *args: Any) -> str:
    return reverse(f"reviews:{name}", args=args)


@pytest.fixture
def check(pair: SimpleNamespace, cast: Any) -> SpotCheck:
    """Open for votes; Tina has started the run."""
    return check_make(pair.candidate, pair.baseline, prompts=3, submitter=cast.tina)


# --- the queue ---------------------------------------------------------------------------------


def test_queue_shows_what_waits_first(client_of: Any, cast: Any, check: SpotCheck) -> None:
    page = client_of(cast.rob).get(url("reviews"))
    assert page.status_code == 200
    body = page.content.decode()
    assert "3 prompts" in body
    assert "about 2 minutes" in body
    assert url("vote", check.pk) in body


def test_queue_of_somebody_without_the_role(client_of: Any, cast: Any, check: SpotCheck) -> None:
    body = client_of(cast.otto).get(url("reviews")).content.decode()
    assert "nothing waits for you here" in body
    assert url("vote", check.pk) not in body


def test_queue_asks_for_the_decision(client_of: Any, cast: Any, check: SpotCheck) -> None:
    votes_give(check, cast.rob)
    body = client_of(cast.rosa).get(url("reviews")).content.decode()
    assert "See the findings" in body
    assert "Zebra nine" in body


def test_empty_queue_says_what_comes_next(client_of: Any, cast: Any) -> None:
    assert "No spot-checks yet" in client_of(cast.rob).get(url("reviews")).content.decode()


def test_queue_filters_by_state_as_a_fragment(client_of: Any, cast: Any, check: SpotCheck) -> None:
    page = client_of(cast.rob).get(
        url("reviews") + "?state=approved", headers={"HX-Request": "true"}
    )
    body = page.content.decode()
    assert "<html" not in body
    assert "No spot-check is in this state" in body


# --- blindness ---------------------------------------------------------------------------------


def blind_pages(client_of: Any, cast: Any, check: SpotCheck) -> list[str]:
    """All review pages as everybody sees them."""
    pages = []
    for user in (cast.rob, cast.rosa, cast.tina, cast.leo, cast.ada, cast.otto):
        client = client_of(user)
        names = ("spot_check", "vote")
        for address in (url("reviews"), *(url(name, check.pk) for name in names)):
            pages.append(client.get(address, follow=True).content.decode())
        fragment = client.get(url("reviews"), headers={"HX-Request": "true"})
        pages.append(fragment.content.decode())
    return pages


def test_nothing_is_given_away_before_quorum(client_of: Any, cast: Any, check: SpotCheck) -> None:
    votes_give(check, cast.rob, limit=2, defects=2)
    for body in blind_pages(client_of, cast, check):
        assert "Zebra nine" not in body
        assert "pre-trained" not in body.lower().replace("the pre-trained anchor", "")
        assert "it makes things up" not in body
        assert "andidate_is_left" not in body
        assert "candidate's answers defective" not in body


def test_nothing_is_given_away_while_answers_are_made(
    client_of: Any, cast: Any, pair: SimpleNamespace
) -> None:
    waiting = spot_check_open(
        candidate=pair.candidate,
        baseline=pair.baseline,
        prompt_set=prompts_make(2),
        submitter=cast.tina,
    )
    for body in blind_pages(client_of, cast, waiting):
        assert "Zebra nine" not in body
        assert "Small, pre-trained" not in body
    fragment = client_of(cast.rob).get(
        url("spot_check", waiting.pk), headers={"HX-Request": "true"}
    )
    assert "Both models are answering" in fragment.content.decode()
    assert "Zebra nine" not in fragment.content.decode()
    assert "<html" not in fragment.content.decode()


def test_names_are_shown_after_quorum(client_of: Any, cast: Any, check: SpotCheck) -> None:
    votes_give(check, cast.rob, defects=1)
    body = client_of(cast.otto).get(url("spot_check", check.pk)).content.decode()
    assert "Zebra nine" in body
    assert "Small, pre-trained" in body
    assert "it makes things up" in body
    assert "no population claim" in body
    assert "Sign test" in body
    assert "Side bias" in body


def test_an_opened_spot_check_reloads_the_page(client_of: Any, cast: Any, check: SpotCheck) -> None:
    answer = client_of(cast.rob).get(url("spot_check", check.pk), headers={"HX-Request": "true"})
    assert answer.headers["HX-Refresh"] == "true"


# --- the plan and the decision -----------------------------------------------------------------


def test_the_plan_is_changed_by_a_reviewer(client_of: Any, cast: Any, check: SpotCheck) -> None:
    client = client_of(cast.rob)
    assert url("plan", check.pk) in client.get(url("spot_check", check.pk)).content.decode()
    client.post(url("plan", check.pk), {"votes_an_item": "2"})
    check.refresh_from_db()
    assert check.votes_an_item == 2
    page = client.post(url("plan", check.pk), {"votes_an_item": "many"}, follow=True)
    assert "whole number from 1 to 9" in page.content.decode()


def test_a_decision_without_a_reason_comes_back(
    client_of: Any, cast: Any, check: SpotCheck
) -> None:
    votes_give(check, cast.rob)
    page = client_of(cast.rob).post(url("decide", check.pk), {"decision": "approve"})
    assert page.status_code == 422
    assert "A decision needs a reason." in page.content.decode()


def test_approval(client_of: Any, cast: Any, check: SpotCheck) -> None:
    votes_give(check, cast.rob)
    client = client_of(cast.rosa)
    assert "Approve" in client.get(url("spot_check", check.pk)).content.decode()
    page = client.post(
        url("decide", check.pk), {"decision": "approve", "reason": "as good as before"}, follow=True
    )
    body = page.content.decode()
    assert "Approved by Rosa" in body
    assert "as good as before" in body
    assert 'value="approve"' not in body


def test_no_button_to_approve_past_the_plan(client_of: Any, cast: Any, check: SpotCheck) -> None:
    votes_give(check, cast.rob, defects=1)  # 3 curated prompts allow none
    client = client_of(cast.rob)
    body = client.get(url("spot_check", check.pk)).content.decode()
    assert 'value="approve"' not in body
    assert 'value="reject"' in body
    page = client.post(url("decide", check.pk), {"decision": "approve", "reason": "please"})
    assert page.status_code == 422
    check.refresh_from_db()
    assert check.state == SpotCheckState.OPEN


# --- answers that failed -----------------------------------------------------------------------


def test_failed_answers_are_started_again(client_of: Any, cast: Any, pair: SimpleNamespace) -> None:
    check = spot_check_open(
        candidate=pair.candidate, baseline=pair.baseline, prompt_set=prompts_make(2), submitter=None
    )
    Job.objects.filter(pk=check.candidate_answers.job_id).update(
        state="failed", error_message="There was not enough memory."
    )
    client = client_of(cast.rob)
    body = client.get(url("spot_check", check.pk)).content.decode()
    assert "There was not enough memory." in body
    assert url("retry", check.pk) in body
    client.post(url("retry", check.pk))
    check.candidate_answers.job.refresh_from_db()
    assert check.candidate_answers.job.state == "queued"
    assert client_of(cast.leo).post(url("retry", check.pk)).status_code == 403


# --- the panel and opening by hand -------------------------------------------------------------


def test_the_panel_opens_one_for_a_forgotten_checkpoint(
    client_of: Any, cast: Any, pair: SimpleNamespace
) -> None:
    prompts_make(3)
    client = client_of(cast.tina)
    panel = client.get(url("checkpoint_panel", pair.candidate.pk)).content.decode()
    assert "<html" not in panel
    assert url("open", pair.candidate.pk) in panel
    answer = client.post(
        url("open", pair.candidate.pk), {"prompt_set": "Short set", "votes_an_item": "2"}
    )
    check = SpotCheck.objects.get()
    assert answer.url == url("spot_check", check.pk)
    assert (check.submitter, check.votes_an_item) == (cast.tina, 2)
    panel = client.get(url("checkpoint_panel", pair.candidate.pk)).content.decode()
    assert url("open", pair.candidate.pk) not in panel
    assert "0 of 3 prompts judged" in panel


def test_opening_with_nonsense_says_what_to_do(
    client_of: Any, cast: Any, pair: SimpleNamespace
) -> None:
    prompts_make(3)
    answer = client_of(cast.rob).post(
        url("open", pair.candidate.pk), {"prompt_set": "none such", "votes_an_item": "1"}
    )
    assert answer.status_code == 422
    assert "There is no such prompt set." in answer.content.decode()
    assert not SpotCheck.objects.exists()


def test_the_panel_of_the_champion_offers_nothing(
    client_of: Any, cast: Any, pair: SimpleNamespace
) -> None:
    panel = client_of(cast.rob).get(url("checkpoint_panel", pair.baseline.pk)).content.decode()
    assert "It is the champion now" in panel
    assert "Open a spot-check" not in panel


# --- who may, and by which method --------------------------------------------------------------


def test_outsiders_are_sent_to_the_login(
    client: Any, check: SpotCheck, pair: SimpleNamespace
) -> None:
    for name in ("reviews",):
        assert client.get(url(name)).status_code == 302
    for name in GET_ONLY:
        answer = client.get(url(name, check.pk))
        assert answer.status_code == 302
        assert answer.url.startswith("/login/")
    for name in POST_ONLY:
        answer = client.post(url(name, check.pk))
        assert answer.status_code == 302
        assert answer.url.startswith("/login/")
    assert not Vote.objects.exists()


def test_wrong_methods_are_refused(client_of: Any, cast: Any, check: SpotCheck) -> None:
    client = client_of(cast.rob)
    for name in POST_ONLY:
        assert client.get(url(name, check.pk)).status_code == 405
    for name in GET_ONLY:
        assert client.post(url(name, check.pk)).status_code == 405
    assert client.post(url("reviews")).status_code == 405
    assert client.put(url("vote", check.pk)).status_code == 405


def test_the_wrong_role_may_look_and_nothing_else(
    client_of: Any, cast: Any, check: SpotCheck, pair: SimpleNamespace
) -> None:
    for user in (cast.otto, cast.leo, cast.ada):
        client = client_of(user)
        body = client.get(url("spot_check", check.pk)).content.decode()
        assert url("vote", check.pk) not in body
        assert url("plan", check.pk) not in body
        assert client.get(url("vote", check.pk)).status_code == 403
        for name in POST_ONLY:
            assert client.post(url(name, check.pk)).status_code == 403
        assert client.post(url("open", pair.candidate.pk)).status_code == 403
    votes_give(check, cast.rob)
    body = client_of(cast.leo).get(url("spot_check", check.pk)).content.decode()
    assert url("decide", check.pk) not in body


def test_a_page_that_is_not_there(client_of: Any, cast: Any) -> None:
    assert client_of(cast.rob).get(url("spot_check", 999)).status_code == 404
