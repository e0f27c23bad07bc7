"""Every page of runs: success, wrong method, outsider, wrong role, fragment."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.jobs.models import JobState
from ftportal.runs.models import Metric, Run
from ftportal.runs.recipes import recipe_words
from ftportal.runs.selectors import run_again_url

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def tina(client_of: Callable[..., Client], cast: SimpleNamespace) -> Client:
    """The trainer's browser."""
    return client_of(cast.tina)


@pytest.fixture
def otto(client_of: Callable[..., Client], cast: SimpleNamespace) -> Client:
    """Somebody without a role."""
    return client_of(cast.otto)


@pytest.fixture
def form(parent: Checkpoint, talks: Batch, general: Batch) -> dict[str, Any]:
    """A careful run, as the form sends it."""
    return {
        "name": "Monday",
        "parent": parent.pk,
        f"weight_{talks.pk}": "3",
        f"weight_{general.pk}": "1",
        "method": "adamw",
        "learning_rate": "1e-5",
        "epochs": "1",
        "examples_per_step": "1",
        "seed": "0",
        "context_frozen": "on",
        "rank": "",
        "max_steps": "",
        "schedule": "constant",
        "warmup_steps": "0",
        "weight_decay": "0",
        "max_gradient_norm": "1",
        "max_example_tokens": "512",
        "dtype": "float32",
    }


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "name",
    [
        *("runs", "run_new", "run_preview", "run", "run_figures", "metrics", "metrics_csv"),
        *("run_stop", "run_resume", "checkpoint_panel", "batch_panel"),
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


def test_the_form_is_careful_by_default(
    tina: Client, parent: Checkpoint, talks: Batch, general: Batch
) -> None:
    page = tina.get(reverse("runs:run_new")).content.decode()
    assert re.search(r'value="apollo"[^>]*checked', page)
    assert re.search(r'name="learning_rate" value="1e-5"', page)
    assert re.search(r'name="context_frozen"[^>]*checked', page)
    assert re.search(r'value="ftportal" selected', page)
    assert "non-commercial" not in page
    assert "Talks" in page
    assert "General mix" in page


def test_the_form_is_filled_from_the_address(
    tina: Client, parent: Checkpoint, talks: Batch, general: Batch
) -> None:
    query = f"?parent={parent.pk}&batch={talks.pk}&weight_{general.pk}=0.5&learning_rate=3e-4"
    page = tina.get(reverse("runs:run_new") + query + "&method=lora&seed=7").content.decode()
    assert re.search(rf'name="weight_{talks.pk}"[^>]*value="1"', page)
    assert re.search(rf'name="weight_{general.pk}"[^>]*value="0.5"', page)
    assert re.search(r'name="learning_rate" value="3e-4"', page)
    assert re.search(r'value="lora"[^>]*checked', page)
    assert re.search(r'name="seed" value="7"', page)


@pytest.mark.parametrize("query", ["?parent=abc", "?parent=99999999999999999999", "?batch=x"])
def test_an_odd_address_still_gives_the_form(tina: Client, talks: Batch, query: str) -> None:
    assert tina.get(reverse("runs:run_new") + query).status_code == 200


def test_a_valid_form_starts_the_run(tina: Client, form: dict[str, Any]) -> None:
    response = tina.post(reverse("runs:run_new"), form)
    run = Run.objects.get()
    assert response["Location"] == reverse("runs:run", args=[run.pk])
    assert run.name == "Monday"
    assert run.recipe["max_gradient_norm"] == 1.0
    assert run.recipe["context_frozen"] is True
    assert sorted(part.weight for part in run.mixture.all()) == [1.0, 3.0]


def test_what_few_people_change_reaches_the_recipe_and_comes_back(
    tina: Client, form: dict[str, Any]
) -> None:
    rare = {"save_every_steps": "7", "device": "cpu", "threads": "2"}
    lora = {"method": "lora", "rank": "4", "lora_alpha": "6"}
    assert tina.post(reverse("runs:run_new"), {**form, **rare, **lora}).status_code == 302
    run = Run.objects.get()
    assert (run.recipe["save_every_steps"], run.recipe["threads"]) == (7, 2)
    assert run.recipe["method"]["lora_alpha"] == 6.0
    words = dict(recipe_words(run.recipe))
    assert words["Computes on"] == "the processor, 2 threads"
    again = tina.get(run_again_url(run)).content.decode()
    assert re.search(r'name="lora_alpha" value="6.0"', again)
    other = parse_qs(urlsplit(run_again_url(run, method="apollo")).query)
    assert "lora_alpha" not in other
    for field in ("save_every_steps", "device", "threads"):  # of forms that were open before
        rare[field] = ""
    assert tina.post(reverse("runs:run_new"), {**form, **rare, "name": "Two"}).status_code == 302
    assert Run.objects.get(name="Two").recipe["save_every_steps"] == 20


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("learning_rate", "0", "Write a number above 0"),
        ("learning_rate", "abc", "Write a number above 0"),
        ("learning_rate", "NaN", "Write a number above 0"),
        ("learning_rate", "1e999", "Write a number above 0"),
        ("learning_rate", "-1", "Write a number above 0"),
        ("learning_rate", "", "Write a number above 0"),
        ("seed", "-1", "whole number of at least 0"),
        ("seed", "9" * 5000, "whole number"),
        ("epochs", "1.5", "whole number of at least 1"),
        ("epochs", "1000000000", "steps"),
        ("rank", "8", "no meaning for adamw"),
        ("warmup_steps", "x", "whole number"),
        ("weight_decay", "2", "from 0 to 1"),
        ("max_gradient_norm", "0", "above 0"),
        ("method", "sgd", "valid choice"),
        ("parent", "12345", "Choose another one"),
        ("name", "", "Give the run a name"),
    ],
)
def test_a_wrong_field_is_named(
    tina: Client, form: dict[str, Any], field: str, value: str, words: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, field: value})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert "The run was not started" in response.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize("weight", ["abc", "nan", "-1", "1e999", "inf"])
def test_a_wrong_weight_is_named(
    tina: Client, form: dict[str, Any], talks: Batch, weight: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, f"weight_{talks.pk}": weight})
    assert response.status_code == 422
    assert "0 leaves the batch out" in response.content.decode()


def test_no_batch_is_named(
    tina: Client, form: dict[str, Any], talks: Batch, general: Batch
) -> None:
    empty = {**form, f"weight_{talks.pk}": "0", f"weight_{general.pk}": ""}
    response = tina.post(reverse("runs:run_new"), empty)
    assert response.status_code == 422
    assert "No batch was chosen" in response.content.decode()


def test_the_preview_tells_steps_time_displacement_and_shares(
    tina: Client, form: dict[str, Any], talks: Batch
) -> None:
    page = tina.post(reverse("runs:run_preview"), form, headers=HTMX).content.decode()
    assert "<html" not in page
    assert "for 16 steps" in page
    assert "Assumed" in page
    assert "Displacement" in page
    assert re.search(rf'id="share-{talks.pk}"[^>]*>75 %<', page)
    assert not Run.objects.exists()


def test_the_preview_warns(tina: Client, form: dict[str, Any], general: Batch) -> None:
    risky = {**form, "learning_rate": "3e-4", f"weight_{general.pk}": "", "name": ""}
    page = tina.post(reverse("runs:run_preview"), risky).content.decode()
    assert "outside 1e-5 to 5e-5" in page
    assert "0 % of the examples are general" in page


@pytest.mark.parametrize(
    ("method", "implementation", "noted"),
    [
        ("apollo", "apollo-torch", True),
        ("apollo", "ftportal", False),
        ("adamw", "apollo-torch", False),
    ],
)
def test_only_the_reference_has_the_note_of_its_licence(
    tina: Client, form: dict[str, Any], method: str, implementation: str, noted: bool
) -> None:
    chosen = {**form, "method": method, "implementation": implementation}
    page = tina.post(reverse("runs:run_preview"), chosen).content.decode()
    assert ("non-commercial use only" in page) is noted
    tina.post(reverse("runs:run_new"), chosen)
    kept = Run.objects.get().recipe["method"]["implementation"]
    assert kept == (None if method == "adamw" else implementation)
    words = tina.get(reverse("runs:run", args=[Run.objects.get().pk])).content.decode()
    assert ("CC-BY-NC 4.0" in words) is noted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": "abc"}, "Learning rate"),
        ({"rank": "8"}, "no meaning"),
        ({"epochs": "4000000000"}, "steps"),
        ({"parent": "x"}, "Start from"),
    ],
)
def test_the_preview_names_what_is_wrong(
    tina: Client, form: dict[str, Any], changes: dict[str, str], words: str
) -> None:
    response = tina.post(reverse("runs:run_preview"), {**form, **changes})
    assert response.status_code == 200
    assert words in response.content.decode()


def test_the_preview_brings_the_batches_of_another_model(
    tina: Client, form: dict[str, Any], talks: Batch, general: Batch
) -> None:
    key = f"{general.pk},{talks.pk}"
    same = tina.post(reverse("runs:run_preview"), {**form, "rows_shown": key}).content.decode()
    assert 'id="mixture"' not in same
    other = tina.post(reverse("runs:run_preview"), {**form, "rows_shown": "99"}).content.decode()
    assert 'id="mixture"' in other


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
        "failed", exit_code=3, error_where="step 5", error_message="The loss was no number."
    )
    Metric.objects.create(run=run, name="loss_nats", step=4, value=9.0)
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "Diverged" in page
    assert "step 5" in page
    assert "The loss was no number." in page
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
    Metric.objects.create(run=run, name="loss_nats", step=1, value=2.0)
    Metric.objects.create(run=run, name="loss_nats", step=2, value=None)
    found = otto.get(reverse("runs:metrics", args=[run.pk]) + "?chart=loss").json()
    assert found["live"] is True
    assert found["series"] == {"Talks": {"x": [1, 2], "y": [2.0, None], "raw": [2.0, None]}}
    text = otto.get(reverse("runs:metrics_csv", args=[run.pk])).content.decode()
    assert text.splitlines() == ["step,metric,value", "1,loss_nats,2.0", "2,loss_nats,"]


def test_the_figures_are_a_fragment(otto: Client, submit: Callable[..., Run]) -> None:
    run = submit()
    Metric.objects.create(run=run, name="loss_nats", step=1, value=2.5)
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
