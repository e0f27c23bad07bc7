"""What was rolled back is not promoted again by what spoke for it before, and says why it went."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.selectors import champion
from ftportal.dashboard.selectors.waiting import waiting_for
from ftportal.promotions.evidence import promotions_undone
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.selectors import candidate_of
from ftportal.promotions.services import PromotionRefusedError, promote, rollback
from tests.ftportal.house import (
    approval_make,
    checkpoint_make,
    suite_make,
    verdict_make,
)

PAGE = "/promotions/"
ClientOf = Callable[[Any], Client]


@pytest.fixture
def undone(ready: SimpleNamespace, cast: SimpleNamespace) -> SimpleNamespace:
    """The candidate was promoted, and rolled back for users complained."""
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    rollback(
        language_model=ready.model, to=ready.baseline, actor=cast.leo, reason="Users complain."
    )
    return ready


def test_it_is_not_ready_by_the_evidence_of_before(
    undone: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    candidate = candidate_of(undone.candidate)
    assert (candidate.word, [one.state for one in candidate.gates][-1]) == ("waiting", "waiting")
    with pytest.raises(PromotionRefusedError, match="Leo rolled it back: Users complain"):
        promote(checkpoint=undone.candidate, actor=cast.leo, reason="again")
    body = client_of(cast.leo).get(PAGE).content.decode()
    assert "Not ready yet" in body and "Looked at since its rollback" in body
    assert waiting_for(cast.leo) == []


def test_a_spot_check_made_since_makes_it_ready(
    undone: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    approval_make(undone.candidate, undone.baseline, cast.rob)
    assert candidate_of(undone.candidate).is_ready
    assert [one.title for one in waiting_for(cast.leo)] == ["Promote Zebra nine"]
    promote(checkpoint=undone.candidate, actor=cast.leo, reason="looked at again")
    assert champion(undone.model) == undone.candidate


def test_a_measurement_made_since_makes_it_ready(undone: SimpleNamespace) -> None:
    old = suite_make()
    old.is_default = False
    old.save()
    new = suite_make("With what users complained of")
    verdict_make(undone.candidate, undone.baseline, "retained", new)
    assert candidate_of(undone.candidate).is_ready


def test_a_verdict_by_another_rule_alone_does_not(undone: SimpleNamespace) -> None:
    """Nothing was looked at anew: the margins moved."""
    from evaluation.judging.rule import Rule
    from ftportal.evaluations.services import verdict_rule_create

    verdict_rule_create(name=suite_make().rule.name, rule=Rule(pooled_margin=0.5))
    verdict_make(undone.candidate, undone.baseline, "retained")
    assert candidate_of(undone.candidate).word == "waiting"


def test_a_rollback_forth_clears_it(undone: SimpleNamespace, cast: SimpleNamespace) -> None:
    rollback(
        language_model=undone.model, to=undone.candidate, actor=cast.leo, reason="it was the cable"
    )
    assert [one.key for one in candidate_of(undone.candidate).gates][-1] == "spot_check"


def test_a_rollback_undoes_every_promotion_since() -> None:
    def entry(number: int, action: str, to: int) -> PromotionEvent:
        return PromotionEvent(number=number, action=action, to_checkpoint_id=to)

    history = [
        entry(1, "initial", 10),
        entry(2, "promote", 11),
        entry(3, "promote", 12),
        entry(4, "rollback", 10),
    ]
    assert {key: one.number for key, one in promotions_undone(history).items()} == {11: 4, 12: 4}
    history.append(entry(5, "promote", 11))
    assert {key: one.number for key, one in promotions_undone(history).items()} == {12: 4}
    history.append(entry(6, "rollback", 12))  # forth, to what entry 4 had undone
    assert promotions_undone(history) == {}
    history.append(entry(7, "rollback", 11))
    assert {key: one.number for key, one in promotions_undone(history).items()} == {12: 7}


def test_the_checkpoint_says_why_it_was_left(
    undone: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    client = client_of(cast.otto)
    url = reverse("promotions:checkpoint_panel", args=[undone.candidate.pk])
    panel = client.get(url).content.decode()
    assert "Rolled back to" in panel and "Users complain." in panel
    assert "Small, pre-trained" in panel
    url = reverse("promotions:checkpoint_panel", args=[undone.baseline.pk])
    assert "Champion again by a rollback by Leo" in client.get(url).content.decode()


def test_who_can_be_promoted_stands_first_on_the_first_page(
    ready: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    barred = checkpoint_make(ready.model, "Reckless", ready.baseline)
    verdict_make(barred, ready.baseline, "forgotten")
    for number in range(10):  # newer, and not measured
        checkpoint_make(ready.model, f"Later {number}", ready.baseline)
    body = client_of(cast.leo).get(PAGE).content.decode()
    places = [body.index(name) for name in ("Zebra nine</a></h3>", "Later 9</a></h3>")]
    assert places == sorted(places)
    assert "Reckless</a></h3>" not in body
    assert "Reckless</a></h3>" in client_of(cast.leo).get(PAGE + "?candidates=2").content.decode()


def test_damaged_files_put_a_candidate_behind_the_others(
    ready: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    (ready.candidate.directory / "model.safetensors").unlink()
    checkpoint_make(ready.model, "Waiting", ready.baseline)
    body = client_of(cast.leo).get(PAGE).content.decode()
    assert body.index("Waiting</a></h3>") < body.index("Zebra nine</a></h3>")


def test_a_refusal_is_shown_at_the_candidate_on_whatever_page(
    ready: SimpleNamespace, cast: SimpleNamespace, client_of: ClientOf
) -> None:
    """The form's address ends in #candidate-…, to which the browser goes in the answer too."""
    late = checkpoint_make(ready.model, "Late", ready.baseline)
    verdict_make(late, ready.baseline, "forgotten")
    for number in range(9):
        checkpoint_make(ready.model, f"Later {number}", ready.baseline)
    client, place = client_of(cast.leo), f"candidate-{late.pk}"
    page = client.post(reverse("promotions:promote", args=[late.pk]), {"reason": "x"})
    body = page.content.decode()
    card = body[body.index(f'id="{place}"') :]
    assert page.status_code == 422
    assert "Not promoted." in card[: card.index("</article>")]
    page = client.post(reverse("promotions:compare", args=[late.pk]))  # measured: done at once
    assert page["Location"].endswith(f"#{place}")
    card = client.get(PAGE).content.decode()
    action = reverse("promotions:promote", args=[ready.candidate.pk])
    assert f'action="{action}#candidate-{ready.candidate.pk}"' in card
    done = client.post(action, {"reason": "better"})
    assert done["Location"].endswith("#main")  # or the browser would stay at the form's place
