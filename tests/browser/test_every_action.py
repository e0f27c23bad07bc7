"""Every form of the portal sent from its page, in a real Chromium, with nothing in its log.

The forms come from the routes that take one: a new route has to have a step here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from ftportal.jobs.models import Job, JobState
from tests.browser.axe import WIDE
from tests.browser.everything import furnish, lines, talk
from tests.browser.keys import press
from tests.browser.steady import route_of, settle, watched
from tests.ftportal.test_roles import WRITES
from tests.tiny_model import tiny_model_write
from tests.upgrade.routes import NOT_CONFIGURED

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SECRET = "correct horse"
LONGER = "a rather long secret"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One form: where it stands, what is written into it, and what is pressed."""

    route: str
    """Where it is sent to."""
    at: str
    """The page's address."""
    values: dict[str, Any] = field(default_factory=dict)
    """By the names of its fields; a file is a Path, a box or a radio button True."""
    press: str = "button[type=submit], button:not([type])"
    keys: tuple[str, ...] = ()
    """Pressed on the keyboard in place of a button."""
    by: str = "walker"
    """Who sends it, of `everything`'s rooms."""
    form: str = ""
    """A selector of the form, where its address does not tell."""


def fill(form: Locator, values: dict[str, Any]) -> None:
    """Write into the fields of a form."""
    for name, value in values.items():
        one = form.locator(f'[name="{name}"]').first
        if isinstance(value, Path):
            one.set_input_files(value)
        elif value is True:
            one.check()
        elif one.evaluate("one => one.tagName") == "SELECT":
            one.select_option(value)
        else:
            one.fill(value)


def form_of(page: Page, step: Step) -> Locator:
    """The form that is sent to the step's route."""
    if step.form:
        return page.locator(step.form).first
    for form in page.locator("main form[method=post]").all():
        if route_of(form.get_attribute("action") or page.url) == step.route:
            return form
    raise AssertionError(f"{page.url} has no form for {step.route}")


def take(page: Page, step: Step) -> None:
    """Open the page, fill in the form and send it."""
    page.goto(step.at)
    settle(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    form = form_of(page, step)
    fill(form, step.values)
    with page.expect_response(
        lambda one: one.request.method == "POST" and route_of(one.url) == step.route
    ):
        if step.keys:
            press(page, *step.keys)
        else:
            form.locator(step.press).first.click()
    page.wait_for_load_state()
    settle(page)
    expect(page.locator("main .messages .notice-bad, main [role=alert]:visible")).to_have_count(0)


def steps(rooms: SimpleNamespace, folder: Path) -> Iterator[Step]:
    """Every form, in an order in which each finds what it needs."""
    yield from people(rooms)
    yield from texts(rooms, folder)
    yield from batches(rooms)
    yield from runs(rooms)
    yield from measures(rooms, folder)
    yield from judging(rooms)
    yield from reviews(rooms)
    yield from decisions(rooms)
    yield from hand_over(rooms)


def people(rooms: SimpleNamespace) -> Iterator[Step]:
    account, everybody = reverse("accounts:account"), reverse("accounts:people")
    person = reverse("accounts:person", args=[rooms.cast.tina.pk])
    yield Step(route="accounts:account", at=account, values={"display_name": "Walker Too"})
    passwords = {"old": SECRET, "password": LONGER, "again": LONGER}
    japanese = {"date_style": "ja", "time_zone": "Asia/Tokyo"}
    yield Step(route="accounts:account_dates", at=account, values=japanese)
    yield Step(route="accounts:account_sessions", at=account)
    yield Step(route="accounts:account_password", at=account, values=passwords)
    yield Step(route="accounts:invite", at=everybody, values={"display_name": "Nina"})
    yield Step(route="accounts:invitation_withdraw", at=everybody)
    yield Step(route="accounts:person_roles", at=person)
    yield Step(route="accounts:person_sessions", at=person)
    yield Step(route="accounts:person_reset", at=person)
    yield Step(route="accounts:person_state", at=person)


def written(folder: Path, name: str, *records: Any) -> Path:
    file = folder / name
    file.write_text(lines(*records), encoding="utf-8")
    return file


def texts(rooms: SimpleNamespace, folder: Path) -> Iterator[Step]:
    documents = written(folder, "documents.jsonl", {"text": "One text."}, {"text": "Another."})
    turns = [{"role": "user", "content": "Which is the longest river?"}]
    prompts = written(folder, "prompts.jsonl", {"group": "code", "messages": turns})
    sums = written(folder, "sums.jsonl", {"question": "1 + 2", "choices": ["3", "4"], "answer": 0})
    yield Step(
        route="datasets:held_out_set_new",
        at=reverse("datasets:held_out_set_new"),
        values={"file": documents, "name": "Notes", "domain": "prose", "source": "made here"},
    )
    yield Step(
        route="datasets:prompt_set_new",
        at=reverse("datasets:prompt_set_new"),
        values={"file": prompts, "name": "Asked"},
    )
    yield Step(
        route="evaluations:benchmark_new",
        at=reverse("evaluations:benchmark_new"),
        values={"file": sums, "name": "Another sum"},
    )
    yield Step(
        route="evaluations:benchmark_delete",
        at=reverse("evaluations:benchmark", args=[rooms.benchmark.pk]),
    )
    talks = written(folder, "talks.jsonl", *(talk(number) for number in range(20, 24)))
    yield Step(
        route="datasets:batch_new",
        at=reverse("datasets:batch_new"),
        values={"file": talks, "name": "By hand", "kind": True},
    )


def batches(rooms: SimpleNamespace) -> Iterator[Step]:
    def of(batch: Any) -> str:
        return reverse("datasets:batch", args=[batch.pk])

    reason = {"reason": "It says too little."}
    yield Step(route="datasets:batch_answer", at=of(rooms.columns))
    yield Step(route="datasets:batch_answer", at=of(rooms.asking))
    yield Step(route="datasets:import_good", at=of(rooms.refused))
    yield Step(route="datasets:batch_describe", at=of(rooms.talks), values={"tags": "one, two"})
    yield Step(route="datasets:version_new", at=of(rooms.repeats), form="form:has([name=redact])")
    yield Step(route="datasets:batch_withdraw", at=of(rooms.repeats), values=reason)
    yield Step(route="datasets:batch_delete", at=of(rooms.spare))
    scores = reverse("learnability:decisions", args=[rooms.talks.pk])
    yield Step(route="learnability:leave_out", at=scores)
    unscored = reverse("learnability:decisions", args=[rooms.general_talks.pk])
    yield Step(route="learnability:score", at=unscored)
    weights = {f"weight_{rooms.talks.pk}": "1", "name": "Winter"}
    new = reverse("mixtures:mixture_new") + f"?model={rooms.little.pk}"
    yield Step(route="mixtures:mixture_new", at=new, values=weights)
    mixture = reverse("mixtures:mixture", args=[rooms.mixture.pk])
    yield Step(route="mixtures:mixture_delete", at=mixture)


def runs(rooms: SimpleNamespace) -> Iterator[Step]:
    def of(name: str) -> str:
        return reverse("runs:run", args=[rooms.runs[name].pk])

    new = reverse("runs:run_new") + f"?parent={rooms.little.pretrained.pk}"
    by_hand = {"name": "By hand", f"weight_{rooms.talks.pk}": "1"}
    more = "button[value=general]"
    yield Step(route="runs:run_mixture", at=new, values=by_hand, press=more, form="#run-form")
    yield Step(route="runs:run_new", at=new, values=by_hand)
    described = reverse("runs:run_describe", args=[rooms.runs["Waits"].pk])
    yield Step(route="runs:run_describe", at=described, values={"note": "By hand."})
    yield Step(route="runs:run_stop", at=of("Goes on"))
    yield Step(route="runs:run_resume", at=of("Stopped"))
    blends = reverse("blends:blends", args=[rooms.careful.output_id])
    yield Step(route="blends:blends", at=blends, values={"percents": "30"})
    jobs = reverse("jobs:jobs")
    yield Step(route="jobs:stop", at=f"{jobs}?state=queued")
    yield Step(route="jobs:resume", at=f"{jobs}?state=failed&text=Train")


def measures(rooms: SimpleNamespace, folder: Path) -> Iterator[Step]:
    model = tiny_model_write(folder / "third", seed=7)
    yield Step(
        route="checkpoints:model_new",
        at=reverse("checkpoints:model_new"),
        values={"name": "Third", "place": str(model)},
    )
    rule = reverse("evaluations:rule_edit", args=[rooms.suite.rule.pk])
    suite = {"name": "By hand", "use_local_code": True}
    yield Step(route="evaluations:suite_new", at=reverse("evaluations:suite_new"), values=suite)
    again = reverse("evaluations:evaluation", args=[rooms.verdict_careful.after_id])
    yield Step(route="evaluations:measure_again", at=again)
    waits = reverse("checkpoints:checkpoint", args=[rooms.blend.result_id])
    yield Step(route="evaluations:measure", at=waits)
    yield Step(route="evaluations:rule_edit", at=rule, values={"pooled_points": "15"})


def check(rooms: SimpleNamespace, name: str) -> str:
    return reverse("reviews:spot_check", args=[getattr(rooms, name).pk])


def judging(rooms: SimpleNamespace) -> Iterator[Step]:
    """A vote by the keyboard and one by the mouse; put off, taken back, changed, left."""
    following = reverse("reviews:vote", args=[rooms.open_check.pk])
    judged = reverse("reviews:item", args=[rooms.judging_check.pk, 1])
    vote: dict[str, Any] = {"route": "reviews:item", "at": following, "form": "[data-vote]"}
    yield Step(route="reviews:plan", at=check(rooms, "open_check"), values={"votes_an_item": "2"})
    yield Step(**vote, keys=("ArrowLeft", "Enter"))
    yield Step(**vote, values={"preference": True, "note": "Longer."})
    yield Step(route="reviews:skip", at=following, press="[data-skip]", form="[data-vote]")
    yield Step(route="reviews:undo", at=following, press="button[form=undo]", form="main")
    yield Step(**vote | {"at": f"{judged}?change"}, keys=("=", "Enter"))
    yield Step(route="reviews:undo", at=judged, keys=("u",), form="main")
    yield Step(route="reviews:leave", at=following, press="button[form=leave]", form="main")


def reviews(rooms: SimpleNamespace) -> Iterator[Step]:
    """What is decided about checks, by whom they are judged, and prompts that are tried."""
    reason = {"reason": "It answers as well as before."}
    named = {"reviewers": True}
    trials = reverse("reviews:trials", args=[rooms.third_check.candidate_id])
    unreviewed = reverse("reviews:open", args=[rooms.exportable.pk])
    policy = {"reviewers_an_item": "2", "defect_rate_percent": "5"}
    reject = "button[value=reject]"
    yield Step(route="reviews:retry", at=check(rooms, "preparing_check"))
    yield Step(route="reviews:assign", at=check(rooms, "judging_check"), values=named, by="seer")
    yield Step(route="reviews:close", at=check(rooms, "judging_check"), values=reason)
    yield Step(route="reviews:decide", at=check(rooms, "judged_check"), values=reason, press=reject)
    yield Step(route="reviews:chosen_batch", at=check(rooms, "third_check"))
    yield Step(route="reviews:trials", at=trials, values={"prompt": "What is left?"})
    yield Step(route="reviews:open", at=unreviewed)
    yield Step(route="reviews:policy", at=reverse("reviews:policy"), values=policy)


def hand_over(rooms: SimpleNamespace) -> Iterator[Step]:
    """Exports, and what is done about files."""

    def of(checkpoint: Any) -> str:
        return reverse("checkpoints:checkpoint", args=[checkpoint.pk])

    yield Step(route="handover:export", at=of(rooms.exportable))
    yield Step(route="handover:export_delete", at=of(rooms.exports["measured"].source))
    yield Step(route="promotions:reread", at=of(rooms.whole))
    (rooms.flipped.directory / "model.safetensors").write_bytes(rooms.as_it_was)
    yield Step(route="handover:files_check", at=of(rooms.flipped))
    asking = reverse("checkpoints:model_asking", args=[rooms.little.pk])
    yield Step(route="checkpoints:model_asking", at=asking, values={"answer_tokens": "600"})
    people = reverse("checkpoints:model_people", args=[rooms.restricted.pk])
    yield Step(route="checkpoints:model_people", at=people, values={"people": True})


def decisions(rooms: SimpleNamespace) -> Iterator[Step]:
    reason = {"reason": "As good as before."}
    page = reverse("promotions:promotions") + f"?model={rooms.model.name}"
    yield Step(route="promotions:promote", at=page, values=reason)
    yield Step(route="promotions:rollback", at=page, values=reason)
    yield Step(route="promotions:compare", at=page)
    described = reverse("checkpoints:checkpoint_describe", args=[rooms.ready.pk])
    yield Step(route="checkpoints:checkpoint_describe", at=described, values={"tags": "good"})
    gone = reverse("checkpoints:checkpoint", args=[rooms.closed_check.candidate_id])
    yield Step(route="checkpoints:checkpoint_delete", at=gone)


def filters_set(page: Page) -> None:
    """Choose something in every filter of every list."""
    lists = (
        *("accounts:people", "audit:audit", "checkpoints:checkpoints", "datasets:batches"),
        *("evaluations:evaluations", "jobs:jobs", "reviews:reviews", "runs:runs"),
        *("dashboard:lineage", "promotions:ledger"),
    )
    for name in lists:
        page.goto(reverse(name))
        for choice in page.locator("main form[method=get] select").all():
            choice.select_option(index=1)
            settle(page)


def leave_and_come_back(page: Page, rooms: SimpleNamespace) -> None:
    """Log out, join by a link, log out, log in."""
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    page.goto(reverse("accounts:welcome", args=[rooms.invitation]))
    names = {"display_name": "Ivo", "username": "ivo", "password": LONGER, "again": LONGER}
    fill(page.locator("form"), names)
    page.get_by_role("button", name="Join").click()
    expect(page.locator("h1")).to_have_text("Home")
    page.get_by_role("button", name="Log out").click()
    fill(page.locator("form"), {"username": "ivo", "password": LONGER})
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Home")


def test_every_form_is_sent(
    context_for: Callable[..., BrowserContext],
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.FTPORTAL_MODEL_ROOTS = [str(tmp_path)]
    rooms = furnish(cast, tiny_model_directory, tmp_path)
    for person in (rooms.walker, cast.tina):  # another browser of each
        Client().force_login(person)
    answers = rooms.preparing_check.candidate_answers.job
    Job.objects.filter(pk=answers.pk).update(state=JobState.FAILED, finish_handled=True)
    wrong: list[str] = []
    sent: set[str] = set()

    def noted(one: Request) -> None:
        if one.method == "POST":
            sent.add(route_of(one.url))

    def window(person: Any) -> Page:
        page = watched(context_for(person, viewport=WIDE).new_page(), wrong)
        page.on("request", noted)
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    pages = {name: window(getattr(rooms, name)) for name in ("walker", "seer")}
    for step in steps(rooms, tmp_path):
        take(pages[step.by], step)
    filters_set(pages["walker"])
    leave_and_come_back(pages["walker"], rooms)
    assert "\n".join(wrong) == ""
    unsent = WRITES.keys() - NOT_CONFIGURED - sent  # `test_signing_in` has those
    assert unsent == set(), f"no step sends a form to {unsent}"
