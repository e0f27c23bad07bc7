"""Every page of runs: success, wrong method, outsider, wrong role, fragment."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.jobs.models import JobState
from ftportal.runs import selectors
from ftportal.runs.models import Run
from ftportal.runs.recipes import batch_key
from tests.ftportal.house import measure

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "name",
    [
        *("runs", "run_new", "run_preview", "run", "run_figures", "metrics", "metrics_csv"),
        *("run_stop", "run_resume", "run_describe", "checkpoint_panel", "batch_panel"),
    ],
)
def test_strangers_are_sent_to_the_login(client: Client, name: str, method: str) -> None:
    alone = name in ("runs", "run_new", "run_preview")
    address = reverse(f"runs:{name}", args=[] if alone else [1])
    response = getattr(client, method)(address)
    assert response.status_code in (302, 405)
    if response.status_code == 302:
        assert response["Location"].startswith("/login/")


@pytest.mark.parametrize("name", ["run_new", "run_preview", "run_stop", "run_resume"])
def test_only_trainers_change_something(
    otto: Client, submit: Callable[..., Run], form: dict[str, Any], name: str
) -> None:
    run = submit()
    args = [] if name in ("run_new", "run_preview") else [run.pk]
    assert otto.post(reverse(f"runs:{name}", args=args), form).status_code == 403
    assert Run.objects.count() == 1
    run.job.refresh_from_db()
    assert run.job.state == JobState.QUEUED


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("runs", "post"),
        ("run", "post"),
        ("run_figures", "post"),
        ("metrics", "post"),
        ("metrics_csv", "post"),
        ("run_new", "put"),
        ("run_preview", "get"),
        ("run_stop", "get"),
        ("run_resume", "get"),
        ("checkpoint_panel", "post"),
        ("batch_panel", "post"),
    ],
)
def test_wrong_methods_are_refused(
    tina: Client, submit: Callable[..., Run], name: str, method: str
) -> None:
    run = submit()
    args = [] if name in ("runs", "run_new", "run_preview") else [run.pk]
    response = getattr(tina, method)(reverse(f"runs:{name}", args=args))
    assert response.status_code == 405


def test_the_empty_list_says_what_to_do(tina: Client, otto: Client, parent: Checkpoint) -> None:
    assert "Start a run" in tina.get("/runs/").content.decode()
    page = otto.get("/runs/").content.decode()
    assert "A trainer can start one" in page
    assert reverse("runs:run_new") not in page


def test_the_list_filters_sorts_and_has_a_fragment(
    tina: Client, submit: Callable[..., Run], ended: Callable[..., Run]
) -> None:
    submit("Alpha")
    ended("failed", name="Beta", exit_code=3)
    page = tina.get("/runs/?sort=name").content.decode()
    assert page.index(">Alpha</a>") < page.index(">Beta</a>")
    assert "Diverged" in page
    assert ">Alpha</a>" not in tina.get("/runs/?state=diverged").content.decode()
    fragment = tina.get("/runs/?text=alp", headers=HTMX).content.decode()
    assert "<html" not in fragment
    assert "Alpha" in fragment
    assert "Beta" not in fragment
    assert "every 2s" in fragment, "it polls while a run lives"
    assert "No run fits" in tina.get("/runs/?text=nothing").content.decode()


def test_too_many_checkpoints_are_not_listed_to_choose_from(
    tina: Client, submit: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit("Alpha")
    assert '<select name="parent">' in tina.get("/runs/").content.decode()
    monkeypatch.setattr(selectors, "PARENTS_LISTED", 0)
    page = tina.get("/runs/?parent=tiny").content.decode()
    assert '<input type="search" name="parent" value="tiny"' in page
    assert ">Alpha</a>" in page


def test_the_watch_page_of_a_live_run(
    tina: Client, otto: Client, submit: Callable[..., Run]
) -> None:
    run = submit("Monday")
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "Not started yet" in page
    assert reverse("runs:run_stop", args=[run.pk]) in page
    assert reverse("runs:run_resume", args=[run.pk]) not in page
    assert f'data-update-url="{reverse("runs:metrics", args=[run.pk])}' in page
    assert "Talks" in page
    looking = otto.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "Not started yet" in looking
    assert reverse("runs:run_stop", args=[run.pk]) not in looking


def test_the_watch_page_of_a_run_that_diverged(tina: Client, ended: Callable[..., Run]) -> None:
    run = ended(
        "failed", exit_code=3, error_where="step 5", error_message="The loss was not a number."
    )
    measure(run, {4: 9.0})
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "Diverged" in page
    assert "step 5" in page
    assert "The loss was not a number." in page
    assert "data-chart" in page, "its curve is kept"
    assert "data-update-url" not in page
    assert "learning_rate=1e-06" in page, "a tenth of the rate is proposed"
    assert reverse("runs:run_resume", args=[run.pk]) not in page


def test_stop_and_resume(tina: Client, otto: Client, submit: Callable[..., Run]) -> None:
    run = submit()
    tina.post(reverse("runs:run_stop", args=[run.pk]))
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "Resume this session" in page
    assert (
        "Resume this session" not in otto.get(reverse("runs:run", args=[run.pk])).content.decode()
    )
    tina.post(reverse("runs:run_resume", args=[run.pk]))
    run.job.refresh_from_db()
    assert run.job.state == JobState.QUEUED
    response = tina.post(reverse("runs:run_resume", args=[run.pk]), follow=True)
    assert "cannot be resumed" in response.content.decode()


def test_a_missing_run_is_not_found(tina: Client, parent: Checkpoint) -> None:
    for name in ("run", "run_figures", "metrics", "metrics_csv"):
        assert tina.get(reverse(f"runs:{name}", args=[404])).status_code == 404
    assert tina.post(reverse("runs:run_stop", args=[404])).status_code == 404
    assert tina.get(reverse("runs:checkpoint_panel", args=[404])).status_code == 404
    assert tina.get(reverse("runs:batch_panel", args=[404])).status_code == 404


def test_metrics_as_json_and_csv(otto: Client, submit: Callable[..., Run], talks: Batch) -> None:
    run = submit(mixture=[(talks, 1.0)])
    measure(run, {1: 2.0})
    measure(run, {2: None})
    result = otto.get(reverse("runs:metrics", args=[run.pk]) + "?chart=loss").json()
    assert result["live"] is True
    assert result["series"] == {"Talks": {"x": [1, 2], "y": [2.0, None], "raw": [2.0, None]}}
    key = f"loss_nats/batch/{batch_key(talks)}"
    measure(run, {2: 1.5}, key)
    text = otto.get(reverse("runs:metrics_csv", args=[run.pk])).getvalue().decode()
    assert list(csv.reader(io.StringIO(text))) == [
        ["step", "metric", "about", "value"],
        ["1", "loss_nats", "", "2.0"],
        ["2", "loss_nats", "", ""],
        ["2", "loss_nats/batch", "Talks", "1.5"],
    ]


def test_the_figures_are_a_fragment(otto: Client, submit: Callable[..., Run]) -> None:
    run = submit()
    measure(run, {1: 2.5})
    page = otto.get(reverse("runs:run_figures", args=[run.pk]), headers=HTMX).content.decode()
    assert "<html" not in page
    assert "2.500" in page
    assert "every 2s" in page


def test_panels_for_other_floors(
    tina: Client, otto: Client, submit: Callable[..., Run], parent: Checkpoint, talks: Batch
) -> None:
    address = reverse("runs:checkpoint_panel", args=[parent.pk])
    page = reverse("checkpoints:checkpoint", args=[parent.pk])
    start = f"{reverse('runs:run_new')}?parent={parent.pk}"
    assert start in tina.get(page).content.decode()
    assert start not in otto.get(page).content.decode()
    run = submit("Monday")
    assert "Monday" in tina.get(address).content.decode()
    batch = tina.get(reverse("runs:batch_panel", args=[talks.pk])).content.decode()
    assert "Monday" in batch
    assert "75 %" in batch
    run.output = Checkpoint.objects.create(
        language_model=parent.language_model,
        parent=parent,
        name="Child",
        path="checkpoints/child",
        manifest_hash="c" * 64,
        size_bytes=1,
    )
    run.save()
    made = tina.get(reverse("runs:checkpoint_panel", args=[run.output.pk])).content.decode()
    assert "Made by" in made
    assert "AdamW" in made


def test_names_are_escaped(tina: Client, submit: Callable[..., Run]) -> None:
    run = submit("<script>alert(1)</script>")
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "<script>alert" not in page
