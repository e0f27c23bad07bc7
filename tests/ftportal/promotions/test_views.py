"""The promotions page, its forms and the panel."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from ftportal.checkpoints.selectors import champion
from ftportal.evaluations.models import Verdict
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.services import promote
from tests.ftportal.house import model_make, verdict_make

PAGE = "/promotions/"


def url(name: str, *args: Any) -> str:
    return reverse(f"promotions:{name}", args=args)


def test_without_a_model_it_says_what_to_do(client_of: Any, cast: Any) -> None:
    body = client_of(cast.leo).get(PAGE).content.decode()
    assert "No language model yet" in body


def test_the_page_shows_champion_gates_and_ledger(
    client_of: Any, cast: Any, ready: SimpleNamespace
) -> None:
    page = client_of(cast.leo).get(PAGE)
    assert page.status_code == 200
    body = page.content.decode()
    assert "Small, pre-trained" in body
    assert "Retained by Quick, Standard, version 1." in body
    assert body.count("retained over 60 items") == 1  # the champion is the anchor: told once
    assert "Approved by Rob: as good" in body
    assert "Ready to promote" in body
    assert "Chain intact" in body
    assert url("promote", ready.candidate.pk) in body


def test_a_releaser_promotes(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    client = client_of(cast.leo)
    page = client.post(
        url("promote", ready.candidate.pk), {"reason": "keeps what it knew"}, follow=True
    )
    body = page.content.decode()
    assert champion(ready.model) == ready.candidate
    assert "Zebra nine is the champion now." in body
    assert "Promoted by <strong>Leo</strong>" in body
    assert "keeps what it knew" in body
    assert url("rollback") in body


def test_a_refusal_comes_back_with_the_reason_typed(
    client_of: Any, cast: Any, pair: SimpleNamespace
) -> None:
    page = client_of(cast.leo).post(url("promote", pair.candidate.pk), {"reason": "I want it"})
    assert page.status_code == 422
    body = page.content.decode()
    assert "Not promoted." in body
    assert "Pass every gate first." in body
    assert champion(pair.model) == pair.baseline


def test_an_empty_reason_comes_back(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    page = client_of(cast.leo).post(url("promote", ready.candidate.pk), {"reason": " "})
    assert page.status_code == 422
    assert "The ledger needs a reason." in page.content.decode()


def test_inconclusive_shows_a_box_to_tick(
    client_of: Any, cast: Any, ready: SimpleNamespace
) -> None:
    Verdict.objects.update(outcome="inconclusive")
    client = client_of(cast.leo)
    assert "accept_inconclusive" in client.get(PAGE).content.decode()
    client.post(url("promote", ready.candidate.pk), {"reason": "now"})
    assert champion(ready.model) == ready.baseline
    client.post(url("promote", ready.candidate.pk), {"reason": "now", "accept_inconclusive": "on"})
    assert champion(ready.model) == ready.candidate
    assert "Leo answers for the inconclusive verdict" in client.get(PAGE).content.decode()


def test_a_barred_candidate_has_no_button(client_of: Any, cast: Any, pair: SimpleNamespace) -> None:
    verdict_make(pair.candidate, pair.baseline, "forgotten")
    body = client_of(cast.leo).get(PAGE).content.decode()
    assert "Promotion barred" in body
    assert url("promote", pair.candidate.pk) not in body


def test_rollback_by_the_form(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    client = client_of(cast.leo)
    wanted = {"model": "Small", "to": "Small, pre-trained", "reason": ""}
    page = client.post(url("rollback"), wanted)
    assert page.status_code == 422
    assert "The ledger needs a reason." in page.content.decode()
    page = client.post(url("rollback"), wanted | {"reason": "users complain"}, follow=True)
    assert "Small, pre-trained is the champion again." in page.content.decode()
    assert champion(ready.model) == ready.baseline


@pytest.mark.parametrize("to", ["", "no such checkpoint"])
def test_rollback_to_nothing(client_of: Any, cast: Any, ready: SimpleNamespace, to: str) -> None:
    page = client_of(cast.leo).post(url("rollback"), {"model": "Small", "to": to, "reason": "now"})
    assert page.status_code == 422
    assert PromotionEvent.objects.count() == 1


def test_rollback_of_a_model_that_is_not_there(client_of: Any, cast: Any) -> None:
    answer = client_of(cast.leo).post(url("rollback"), {"model": "x", "to": "y", "reason": "z"})
    assert answer.status_code == 404


def test_a_broken_chain_is_shown(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="now")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE promotions_promotionevent SET reason = 'other' WHERE number = 2")
    body = client_of(cast.otto).get(PAGE).content.decode()
    assert "Chain broken" in body
    assert "The first entry that does not fit is number 2" in body


def test_models_have_a_page_each(client_of: Any, cast: Any, pair: SimpleNamespace) -> None:
    model_make("Other")
    client = client_of(cast.otto)
    assert "Champion of Small" in client.get(PAGE).content.decode()
    assert "Champion of Other" in client.get(PAGE + "?model=Other").content.decode()
    assert "Champion of Small" in client.get(PAGE + "?model=Nobody").content.decode()


def test_comparing_tells_what_is_missing(client_of: Any, cast: Any, pair: SimpleNamespace) -> None:
    page = client_of(cast.tina).post(url("compare", pair.candidate.pk), follow=True)
    assert "is not measured yet" in page.content.decode()


def test_the_panel(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    client = client_of(cast.otto)
    panel = client.get(url("checkpoint_panel", ready.candidate.pk)).content.decode()
    assert "<html" not in panel
    assert "Approved" in panel
    assert "Against the pre-trained anchor" in panel
    anchor = client.get(url("checkpoint_panel", ready.baseline.pk)).content.decode()
    assert "Champion" in anchor
    assert "Files intact" not in anchor


def test_outsiders_are_sent_to_the_login(client: Any, ready: SimpleNamespace) -> None:
    pk = ready.candidate.pk
    answers = [
        client.get(PAGE),
        client.get(url("checkpoint_panel", pk)),
        client.post(url("promote", pk), {"reason": "now"}),
        client.post(url("compare", pk)),
        client.post(url("rollback")),
    ]
    assert {answer.status_code for answer in answers} == {302}
    assert all(answer.url.startswith("/login/") for answer in answers)
    assert PromotionEvent.objects.count() == 1


@pytest.mark.parametrize("name", ["tina", "rob", "ada", "otto"])
def test_without_the_role_there_are_no_buttons_and_403(
    client_of: Any, cast: Any, ready: SimpleNamespace, name: str
) -> None:
    client = client_of(getattr(cast, name))
    body = client.get(PAGE).content.decode()
    assert url("promote", ready.candidate.pk) not in body
    assert url("rollback") not in body
    assert client.post(url("promote", ready.candidate.pk), {"reason": "x"}).status_code == 403
    assert client.post(url("rollback"), {"model": "Small"}).status_code == 403
    assert PromotionEvent.objects.count() == 1


def test_comparing_needs_some_role(client_of: Any, cast: Any, pair: SimpleNamespace) -> None:
    assert client_of(cast.otto).post(url("compare", pair.candidate.pk)).status_code == 403


def test_wrong_methods_are_refused(client_of: Any, cast: Any, ready: SimpleNamespace) -> None:
    client = client_of(cast.leo)
    pk = ready.candidate.pk
    assert client.post(PAGE).status_code == 405
    assert client.post(url("checkpoint_panel", pk)).status_code == 405
    for address in (url("promote", pk), url("compare", pk), url("rollback")):
        assert client.get(address).status_code == 405
