"""Blind also the second time: every page of the portal, in the middle of a second check.

Two worlds are built that differ only in what must not be told: which checkpoint is in the check,
or which side is whose. A reviewer who opens every page of the URL configuration must find the same
in both. What both tell alike could still give the sides away where the answers themselves stand
somewhere with a name, so no page but the ballot may hold one of them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import unified_diff
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from evaluation.judging.rule import Rule
from evaluation.judging.verdict import verdict
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Verdict
from ftportal.jobs.models import Job, JobState
from ftportal.reviews import selectors
from ftportal.reviews.models import Generation, SpotCheck, SpotCheckState, TrialAnswer
from ftportal.reviews.services import (
    ballot_take,
    spot_check_decide,
    spot_check_open,
    spot_checks_start,
    trial_ask,
    vote_cast,
    voting,
)
from ftportal.reviews.sides import candidate_is_left
from ftportal.runs.models import Run
from tests.ftportal.house import (
    checkpoint_make,
    prompts_make,
    verdict_make,
)
from tests.upgrade.routes import OBJECTS, POST_ONLY, addresses, routes

CHAMPIONS_WORD, CANDIDATES_WORD = "heronry", "otterish"
"""What their answers say. The champion says the same in both checks, as a greedy one would."""
NO_ROWS_HERE = {"datasets", "mixtures", "learnability"}
"""Apps that this world has next to nothing of: what is learned, and nothing of who is in review."""
NO_ROW_HERE = ("evaluations:benchmark", "checkpoints:intake")
"""Routes of other apps that are about nothing in this world."""


def answers_write(check: SpotCheck, words: dict[int, str]) -> None:
    """Give both sides their answers, by generation set, as the engine's would be stored."""
    for answers in (check.candidate_answers, check.baseline_answers):
        Job.objects.filter(pk=answers.job_id).update(state=JobState.SUCCEEDED, finish_handled=True)
        Generation.objects.bulk_create(
            Generation(
                generation_set=answers, prompt=item.prompt, text=f"{words[answers.pk]} {number}"
            )
            for number, item in enumerate(check.items.select_related("prompt"))
        )
        answers.complete = True
        answers.save()
    spot_checks_start()
    check.refresh_from_db()


def judge(check: SpotCheck, reviewer: User, count: int) -> None:
    """Prefer the left answer of the next items, whatever it is."""
    for _ in range(count):
        ballot = ballot_take(spot_check=check, reviewer=reviewer)
        assert ballot is not None
        vote_cast(
            item=ballot.item,
            reviewer=reviewer,
            preference="left",
            left_defective=False,
            left_reason="",
            right_defective=False,
            right_reason="",
        )


@pytest.fixture
def house(pair: SimpleNamespace, cast: SimpleNamespace) -> SimpleNamespace:
    """A champion, an approved check against it, and two candidates of different trainers.

    Rex reviews and has every other role too, so that he sees every page there is.
    """
    rex = User.objects.create(
        username="rex",
        first_name="Rex",
        is_trainer=True,
        is_reviewer=True,
        is_releaser=True,
        is_superuser=True,
    )
    theo = User.objects.create(username="theo", first_name="Theo", is_trainer=True)
    walrus = checkpoint_make(pair.model, "Walrus one", pair.baseline, run_by=cast.tina)
    yak = checkpoint_make(pair.model, "Yak ten", pair.baseline, run_by=theo)
    nothing_measured = verdict([], [], Rule(), {}).to_json()
    for one in (walrus, pair.candidate, yak):
        verdict_make(one, pair.baseline)
    Verdict.objects.update(evidence=nothing_measured)
    prompts = prompts_make(4)
    first = check_open(walrus, pair.baseline, prompts)
    judge(first, cast.rob, 4)
    spot_check_decide(spot_check=first, decided_by=cast.rosa, approve=True, reason="as good")
    for one in (pair.candidate, yak):
        trial = trial_ask(checkpoint=one, prompt="Question 0 of Short set?", actor=cast.leo)
        TrialAnswer.objects.filter(trial=trial, checkpoint=pair.baseline).update(
            text=f"{CHAMPIONS_WORD} 0", complete=True
        )
        TrialAnswer.objects.filter(trial=trial, checkpoint=one).update(
            text=f"{CANDIDATES_WORD} 0", complete=True
        )
    Job.objects.filter(kind="generate").update(state=JobState.SUCCEEDED, finish_handled=True)
    return SimpleNamespace(
        model=pair.model,
        baseline=pair.baseline,
        zebra=pair.candidate,
        yak=yak,
        prompts=prompts,
        first=first,
        rex=rex,
        rob=cast.rob,
        rosa=cast.rosa,
        leo=cast.leo,
    )


def check_open(
    candidate: Checkpoint,
    baseline: Checkpoint,
    prompts: Any,
    *,
    swapped: bool = False,
    answered: bool = True,
) -> SpotCheck:
    """A check whose answers are there or not. Swapped: each side says the other's words."""
    check = spot_check_open(
        candidate=candidate,
        baseline=baseline,
        prompt_set=prompts,
        submitter=selectors.checkpoint_submitter(candidate),
    )
    if not answered:
        return check
    words = [CANDIDATES_WORD, CHAMPIONS_WORD][:: -1 if swapped else 1]
    sets = (check.candidate_answers_id, check.baseline_answers_id)
    answers_write(check, dict(zip(sets, words, strict=True)))
    return check


@contextmanager
def second_check(
    house: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    candidate: Checkpoint,
    *,
    swapped: bool = False,
    answered: bool = True,
) -> Iterator[SpotCheck]:
    """A world in the middle of a second check on the same prompts, which then never was.

    Swapped: everything that reviewers see on the ballot is as it was, and the sides are not.
    """

    def sides(item: Any, reviewer: User) -> bool:
        is_left = candidate_is_left(item, reviewer)
        return not is_left if swapped and item.spot_check_id != house.first.pk else is_left

    with transaction.atomic(), monkeypatch.context() as patch:
        patch.setattr(selectors, "candidate_is_left", sides)
        patch.setattr(voting, "candidate_is_left", sides)
        check = check_open(
            candidate, house.baseline, house.prompts, swapped=swapped, answered=answered
        )
        for reviewer in (house.rob, house.rosa) if answered else ():
            judge(check, reviewer, 1)
        yield check
        transaction.set_rollback(True)


def everything(house: SimpleNamespace) -> Iterator[tuple[str, str]]:
    """Name and address of every page, lists as they are filtered, and every download."""
    for name, pattern in routes():
        if name in POST_ONLY or name == "accounts:logout" or name == "accounts:welcome":
            continue
        if name in OBJECTS and not OBJECTS[name].exists():
            label = OBJECTS[name].model._meta.app_label
            is_text = label in NO_ROWS_HERE or name in NO_ROW_HERE
            assert is_text, f"{name} has nothing to show in this world"
            continue
        for address in addresses(name, pattern):
            yield name, address
    runs = "&".join(f"run={run.pk}" for run in Run.objects.order_by("pk"))
    for query in ("", "&format=csv", "&base=anchor"):
        yield "dashboard:compare", f"{reverse('dashboard:compare')}?{runs}{query}"
    for query in ("format=csv", "format=jsonl", "action=review", "action=job", "text=Zebra"):
        yield "audit:audit", f"{reverse('audit:audit')}?{query}"
    for state in SpotCheckState.values:
        yield "reviews:reviews", f"{reverse('reviews:reviews')}?state={state}"
    for sort in ("opened", "-prompts", "decided"):
        yield "reviews:reviews", f"{reverse('reviews:reviews')}?sort={sort}"
    for text in ("Zebra", "Yak", "spot-check"):
        yield "jobs:jobs", f"{reverse('jobs:jobs')}?text={text}"


VOLATILE = re.compile(
    r"<time[^>]*>[^<]*</time>"
    r"|(?:csrfmiddlewaretoken\" value=|style-nonce\" content=|nonce=|inlineStyleNonce\":)"
    r"\"[^\"]*\""
    r"|X-CSRFToken\": \"[^\"]*\""
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|chart-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT[\d:.+]+"
    r"|about [^<]* left"
    r"|[^<> ]+ are free on the disk"
    r"|\d+ \w+ \d{4}, \d\d:\d\d"
    r"|[0-9a-f]{64}"
)


def job_numbers() -> dict[str, str]:
    """Random key of each job -> its number, which is the same in every world."""
    keys = Job.objects.order_by("created_at").values_list("pk", flat=True)
    return {str(pk): f"job {number}" for number, pk in enumerate(keys)}


def numbered(text: str, jobs: dict[str, str]) -> str:
    """A text or an address with jobs by their numbers."""
    for key, number in jobs.items():
        text = text.replace(key, number)
    return text


def body_of(response: Any, jobs: dict[str, str]) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return VOLATILE.sub("~", numbered(content.decode(errors="replace"), jobs))


def walk(house: SimpleNamespace, reviewer: User) -> dict[str, str]:
    """Every page, whole and as a fragment, and what is answered to who tries by a form."""
    client = Client(raise_request_exception=False)
    client.force_login(reviewer)
    pages, jobs = {}, job_numbers()
    for _, address in everything(house):
        for headers in ({}, {"HX-Request": "true"}):
            response = client.get(address, headers=headers)
            assert response.status_code < 500, address
            key = f"{numbered(address, jobs)} {'fragment' if headers else 'page'}"
            pages[key] = f"{response.status_code} {body_of(response, jobs)}"
    for candidate in (house.zebra, house.yak):
        for name, data in (
            ("reviews:open", {"prompt_set": house.prompts.name, "votes_an_item": "1"}),
            ("reviews:trials", {"prompt": "Who are you?"}),
            ("promotions:promote", {"reason": "it is better"}),
        ):
            response = client.post(reverse(name, args=[candidate.pk]), data)
            assert response.status_code in (403, 422), (name, response.status_code)
            pages[f"{name} {candidate} tried"] = f"{response.status_code} {body_of(response, jobs)}"
    return pages


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    assert one.keys() == other.keys()
    return [
        "\n".join(
            [address, *unified_diff(one[address].split("\n"), other[address].split("\n"), n=0)]
        )
        for address in one
        if one[address] != other[address]
    ]


BALLOT = r"/reviews/\d+/(next/|items/\d+/.*)"
"""Where answers stand on two sides, and nothing says whose they are."""
EACH = ["rob", pytest.param("rosa", marks=pytest.mark.slow), "rex"]


@pytest.mark.parametrize("name", EACH)
def test_no_page_tells_what_is_kept(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither which checkpoint is in the check nor which side is whose; answers stand on the
    ballot alone."""
    person = getattr(house, name)
    with second_check(house, monkeypatch, house.zebra) as check:
        ballot = reverse("reviews:item", args=[check.pk, 1])
        pages = walk(house, person)
    with second_check(house, monkeypatch, house.yak):
        assert differing(pages, walk(house, person)) == []
    with second_check(house, monkeypatch, house.zebra, swapped=True):
        assert differing(pages, walk(house, person)) == []
    showing = {
        address.split()[0]
        for address, body in pages.items()
        if CHAMPIONS_WORD in body or CANDIDATES_WORD in body
    }
    elsewhere = {one for one in showing if not re.fullmatch(BALLOT, one)}
    assert ballot in showing and not elsewhere


def test_nor_while_its_answers_are_made(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    for candidate in (house.zebra, house.yak):
        with second_check(house, monkeypatch, candidate, answered=False):
            pages.append(walk(house, house.rex))
    assert differing(*pages) == []


def test_who_does_not_judge_is_told(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept from reviewers is told to others: so the walks above can find something."""
    leo = house.leo
    client = Client()
    client.force_login(leo)
    with second_check(house, monkeypatch, house.zebra) as check:
        first = client.get(reverse("reviews:spot_check", args=[house.first.pk])).content.decode()
        panel = client.get(reverse("reviews:checkpoint_panel", args=[house.zebra.pk]))
        home = client.get("/").content.decode()
        tried = client.get(reverse("reviews:trials", args=[house.zebra.pk])).content.decode()
        own = client.get(reverse("reviews:spot_check", args=[check.pk])).content.decode()
    assert CHAMPIONS_WORD in first
    assert reverse("reviews:spot_check", args=[check.pk]) in panel.content.decode()
    assert "Review Zebra nine" in home
    assert "Question 0 of Short set?" in tried
    assert "Zebra" not in own.replace("Zebra nine</option>", "")
    assert "Rosa" in own and "Rob" in own  # progress by person


def test_votes_that_are_in_open_the_eyes(
    house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    client.force_login(house.rob)
    page = reverse("reviews:spot_check", args=[house.first.pk])
    with second_check(house, monkeypatch, house.zebra) as check:
        hidden = client.get(page).content.decode()
        assert "kept from you for now" in hidden
        assert "as good" in hidden  # the decision is told
        judge(check, house.rosa, 2)
        assert CHAMPIONS_WORD in client.get(page).content.decode()
        findings = client.get(reverse("reviews:spot_check", args=[check.pk])).content.decode()
        assert "How champions answered it in other checks" in findings
