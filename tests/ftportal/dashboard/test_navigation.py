"""The navigation: where one is, and what waits for whom."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import resolve
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.dashboard.context_processors import Entry, navigation
from ftportal.dashboard.selectors.waiting import waiting_for, waiting_for_others
from ftportal.datasets.models import Batch
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction
from ftportal.reviews.models import ReviewItem, Vote
from ftportal.runs.models import Run
from tests.ftportal.dashboard import world


def entries(user: User, path: str = "/") -> dict[str, Entry]:
    request = RequestFactory().get(path)
    request.user = user
    request.resolver_match = resolve(path)
    sections = navigation(request)["navigation"]()
    return {entry.key: entry for section in sections for entry in section.entries}


def titles(user: User) -> list[str]:
    return [one.title for one in waiting_for(user)]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/", "home"),
        ("/batches/7/", "batches"),
        ("/held-out/", "held_out"),
        ("/prompts/3/", "prompts"),
        ("/mixtures/", "mixtures"),
        ("/batches/7/decisions/", "batches"),
        ("/runs/new/", "runs"),
        ("/checkpoints/", "checkpoints"),
        ("/evaluations/4/", "evaluations"),
        ("/verdicts/4/", "evaluations"),
        ("/benchmarks/3/", "benchmarks"),
        ("/suites/", "suites"),
        ("/rules/", "rules"),
        ("/reviews/2/next/", "reviews"),
        ("/promotions/", "promotions"),
        ("/compare/", "compare"),
        ("/lineage/", "lineage"),
        ("/jobs/", "jobs"),
    ],
)
def test_exactly_one_line_is_current(cast: SimpleNamespace, path: str, key: str) -> None:
    current = [entry.key for entry in entries(cast.otto, path).values() if entry.current]
    assert current == [key]


def test_the_lines_stand_in_pipeline_order(cast: SimpleNamespace) -> None:
    assert list(entries(cast.otto)) == [
        "home",
        "batches",
        "mixtures",
        "runs",
        "checkpoints",
        "evaluations",
        "reviews",
        "promotions",
        "compare",
        "lineage",
        "jobs",
        "held_out",
        "prompts",
        "benchmarks",
        "suites",
        "rules",
    ]


def test_nothing_waits_for_who_only_looks(contrast: SimpleNamespace) -> None:
    world.spot_check_make(candidate=contrast.careful.output, baseline=contrast.anchor)
    assert waiting_for(contrast.cast.otto) == []
    assert all(entry.count == 0 for entry in entries(contrast.cast.otto).values())


def test_a_review_waits_until_one_has_voted(contrast: SimpleNamespace) -> None:
    check = world.spot_check_make(
        candidate=contrast.careful.output, baseline=contrast.anchor, items=2, votes_an_item=2
    )
    rob = contrast.cast.rob
    (waiting,) = waiting_for(rob)
    assert waiting.title == "Judge 2 prompts"
    assert "Careful" not in waiting.title + waiting.detail  # voting is blind
    assert waiting.detail.startswith("Spot-check of ")
    assert entries(rob)["reviews"].count == 1
    for item in ReviewItem.objects.filter(spot_check=check):
        Vote.objects.create(item=item, reviewer=rob, candidate_is_left=True, preference="tie")
    assert waiting_for(rob) == []
    assert len(waiting_for(contrast.cast.rosa)) == 1


def test_a_full_vote_waits_for_a_decision(contrast: SimpleNamespace) -> None:
    check = world.spot_check_make(
        candidate=contrast.careful.output, baseline=contrast.anchor, items=1
    )
    Vote.objects.create(
        item=check.items.get(),
        reviewer=contrast.cast.rosa,
        candidate_is_left=True,
        preference="tie",
    )
    assert titles(contrast.cast.rob) == ["Decide on Careful"]


def test_who_started_the_run_is_not_asked_to_review_it(contrast: SimpleNamespace) -> None:
    world.spot_check_make(
        candidate=contrast.careful.output, baseline=contrast.anchor, submitter=contrast.cast.rob
    )
    assert waiting_for(contrast.cast.rob) == []


def test_home_says_whose_turn_it_is(contrast: SimpleNamespace, client_of: Any) -> None:
    world.spot_check_make(
        candidate=contrast.careful.output, baseline=contrast.anchor, items=2, votes_an_item=2
    )
    cast = contrast.cast
    (one,) = waiting_for_others(cast.leo)
    assert (one.title, one.detail) == (
        "Review Careful",
        "0 of 2 prompts judged; needs a reviewer",
    )
    assert waiting_for_others(cast.rob) == []  # theirs to do, and blind
    assert "needs a reviewer" in client_of(cast.tina).get("/").content.decode()


def test_a_passed_candidate_waits_for_the_releaser(contrast: SimpleNamespace) -> None:
    world.spot_check_make(
        candidate=contrast.careful.output,
        baseline=contrast.anchor,
        state="approved",
        decided_by=contrast.cast.rob,
        decided_at=timezone.now(),
    )
    assert titles(contrast.cast.leo) == ["Promote Careful"]
    assert entries(contrast.cast.leo)["promotions"].count == 1
    assert waiting_for(contrast.cast.rob) == []
    (turn,) = waiting_for_others(contrast.cast.rob)
    assert turn.detail.endswith("needs a releaser")
    for action, to in (
        (PromotionAction.PROMOTE, contrast.careful.output),
        (PromotionAction.ROLLBACK, contrast.anchor),
    ):
        ledger_append(
            language_model=contrast.model,
            action=action,
            actor=contrast.cast.leo,
            to=to,
            reason="for the test",
            evidence={},
        )
    assert titles(contrast.cast.leo) == []  # it was champion, and was taken back


def test_a_barred_candidate_waits_for_nobody(contrast: SimpleNamespace) -> None:
    world.spot_check_make(
        candidate=contrast.reckless.output,
        baseline=contrast.anchor,
        state="approved",
        decided_by=contrast.cast.rob,
        decided_at=timezone.now(),
    )
    assert waiting_for(contrast.cast.leo) == []


def test_a_failed_run_waits_until_it_is_tried_again(contrast: SimpleNamespace) -> None:
    tina = contrast.cast.tina
    world.run_make(name="Broken", parent=contrast.anchor, submitter=tina, state="failed")
    assert titles(tina) == ["See why Broken failed"]
    world.run_make(name="Again", parent=contrast.anchor, submitter=tina, state="queued")
    assert waiting_for(tina) == []


def test_a_refused_batch_waits_until_its_file_comes_again(contrast: SimpleNamespace) -> None:
    tina = contrast.cast.tina
    refused = {"model": contrast.model, "uploaded_by": tina, "state": "refused"}
    world.batch_make(name="Torn", problem_count=2, filename="a.jsonl", **refused)
    (waiting,) = waiting_for(tina)
    assert (waiting.title, waiting.detail) == ("Mend Torn", "the file was refused: 2 problems")
    world.batch_make(name="Mended", model=contrast.model, uploaded_by=tina, filename="a.jsonl")
    assert waiting_for(tina) == []


def test_a_batch_that_asks_waits_for_its_uploader(contrast: SimpleNamespace) -> None:
    tina = contrast.cast.tina
    world.batch_make(name="Moods", model=contrast.model, uploaded_by=tina, state="asking")
    assert titles(tina) == ["Say what becomes of Moods"]


def test_old_trouble_stops_waiting(contrast: SimpleNamespace) -> None:
    tina = contrast.cast.tina
    world.run_make(name="Broken", parent=contrast.anchor, submitter=tina, state="failed")
    world.batch_make(name="Torn", model=contrast.model, uploaded_by=tina, state="refused")
    long_ago = timezone.now() - timedelta(days=8)
    Run.objects.filter(name="Broken").update(created_at=long_ago)
    Batch.objects.filter(name="Torn").update(created_at=long_ago)
    assert waiting_for(tina) == []


def test_other_people_s_trouble_does_not_wait_for_one(contrast: SimpleNamespace) -> None:
    world.run_make(
        name="Broken", parent=contrast.anchor, submitter=contrast.cast.ada, state="failed"
    )
    assert waiting_for(contrast.cast.tina) == []


@pytest.mark.parametrize(("name", "most"), [("otto", 0), ("tina", 2), ("rob", 3), ("leo", 4)])
def test_the_counts_are_cheap(
    contrast: SimpleNamespace, django_assert_max_num_queries: Any, name: str, most: int
) -> None:
    user = getattr(contrast.cast, name)
    with django_assert_max_num_queries(most):
        entries(user)


def test_fragments_pay_nothing_for_it(
    cast: SimpleNamespace, django_assert_num_queries: Callable[[int], Any]
) -> None:
    request = RequestFactory().get("/")
    request.user = cast.rob
    request.resolver_match = resolve("/")
    with django_assert_num_queries(0):
        navigation(request)


def test_pages_mark_where_one_is(cast: SimpleNamespace, client_of: Any) -> None:
    page = client_of(cast.otto).get("/compare/").content.decode()
    assert page.count('aria-current="page"') == 1
    assert 'href="/compare/" id="nav-compare" aria-current="page"' in page
