"""Watching a run for what it forgets: the form, the charts, the brake on its page, a real run."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.datasets.models import Batch, HeldOutSet
from ftportal.datasets.services import held_out_set_create
from ftportal.jobs.models import JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now
from ftportal.runs.drawings import run_charts, run_update
from ftportal.runs.kind import run_config
from ftportal.runs.metrics import metric_series
from ftportal.runs.models import Run
from ftportal.runs.recipes import recipe_words
from ftportal.runs.selectors import run_again_url
from tests.ftportal.house import measure

pytestmark = pytest.mark.django_db
PERPLEXITY = "probe_perplexity_per_token"


@pytest.fixture
def prose(data_dir: Any) -> HeldOutSet:
    """A text to watch."""
    documents = [f"{number}. NOTHING LIKE {number * 7919} HERE!" for number in range(8)]
    return held_out_set_create(name="Prose", domain="prose", source="tests", documents=documents)


@pytest.fixture
def form(form: dict[str, Any], prose: HeldOutSet) -> dict[str, Any]:
    """A watched run with a brake, as the form sends it."""
    watched = {"probe_set": prose.pk, "watch_every_steps": "5", "brake_rise": "0.05"}
    return {**form, "context_frozen": "", **watched}


def test_the_form_watches_the_first_text_by_default(tina: Client, form: dict[str, Any]) -> None:
    page = tina.get(reverse("runs:run_new")).content.decode()
    assert f'<option value="{form["probe_set"]}" selected>Prose</option>' in page
    assert 'name="watch_every_steps" value="20"' in page
    assert "<details open>" not in page, "nothing in it is unusual"


def test_a_watched_run_keeps_its_text_and_says_so(
    tina: Client, form: dict[str, Any], prose: HeldOutSet
) -> None:
    assert tina.post(reverse("runs:run_new"), form).status_code == 302
    run = Run.objects.get()
    assert run.probe_set == prose
    assert run.recipe["watch"] == {
        "watch_every_steps": 5,
        "watch_probe_tokens": 512,
        "watch_kl_tokens": 128,
        "brake_rise": 0.05,
    }
    assert "probes" not in run.recipe
    (probe,) = run_config(run.job)["probes"]
    assert probe == {"key": f"h{prose.pk}", "name": "Prose", "path": str(prose.path.resolve())}
    rows = dict(recipe_words(run.recipe, run.probe_set))
    assert rows["Watched while it trains"] == "every 5 steps, Prose"
    assert rows["Brake"] == "stops where perplexity has risen by 5 %"
    again = tina.get(run_again_url(run)).content.decode()
    assert f'<option value="{prose.pk}" selected>' in again
    assert 'name="brake_rise" value="0.05"' in again


def test_a_run_that_watches_nothing_has_no_text(tina: Client, form: dict[str, Any]) -> None:
    off = {**form, "watch_every_steps": "0", "brake_rise": ""}
    assert tina.post(reverse("runs:run_new"), off).status_code == 302
    run = Run.objects.get()
    assert run.probe_set is None
    assert run_config(run.job)["probes"] == []
    assert dict(recipe_words(run.recipe, run.probe_set))["Watched while it trains"] == "nothing"
    assert "Divergence from the parent" not in [
        chart.title for group in run_charts(run) for chart in group.charts
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe_set": ""}, "the brake goes by general text"),
        ({"probe_set": "999"}, "This text is gone"),
        ({"brake_rise": "0"}, "above 0"),
        ({"watch_every_steps": "0"}, "nothing that the brake could go by"),
        ({"watch_every_steps": "-1"}, "at least 0"),
        ({"watch_probe_tokens": "1"}, "at least 2"),
    ],
)
def test_a_wrong_setting_is_named(
    tina: Client, form: dict[str, Any], change: dict[str, str], words: str
) -> None:
    response = tina.post(reverse("runs:run_new"), {**form, **change})
    assert response.status_code == 422
    page = response.content.decode()
    assert words in page.replace("The brake", "the brake")


def test_the_brake_may_go_by_a_general_batchs_held_out_examples(
    tina: Client, form: dict[str, Any], general: Batch
) -> None:
    Batch.objects.filter(pk=general.pk).update(held_out_count=1)
    response = tina.post(reverse("runs:run_new"), {**form, "probe_set": ""})
    assert response.status_code == 302


def test_a_text_that_is_gone_is_refused_before_and_after(
    tina: Client, form: dict[str, Any], prose: HeldOutSet
) -> None:
    tina.post(reverse("runs:run_new"), form)
    prose.path.unlink()
    with pytest.raises(JobRefusedError):
        run_config(Run.objects.get().job)
    response = tina.post(reverse("runs:run_new"), {**form, "name": "Tuesday"})
    assert "gone from the disk" in response.content.decode()


def test_perplexity_is_drawn_over_that_of_the_parent(
    submit: Callable[..., Run], prose: HeldOutSet, talks: Batch, general: Batch
) -> None:
    Batch.objects.filter(pk=general.pk).update(held_out_count=1)
    general.refresh_from_db()
    run = submit(
        probe_set=prose, watch={"brake_rise": 0.05}, mixture=[(talks, 1.0), (general, 1.0)]
    )
    for step, value in ((0, 20.0), (5, 21.0), (10, None)):
        name = f"{PERPLEXITY}/h{prose.pk}"
        measure(run, {step: value}, name)
    (group,) = [one for one in run_charts(run) if one.title == "What it forgets meanwhile"]
    (chart,) = group.open
    assert list(chart.columns) == ["step", "Prose", "General mix, held out"]
    assert "Prose 20.0" in chart.caption
    assert "brake 5 %" in str(chart.item)
    series = run_update(run, "probes")["series"]
    assert series["Prose"] == {"x": [0, 5, 10], "y": [0.0, pytest.approx(5.0), None]}
    assert series["General mix, held out"] == {"x": [], "y": []}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kept_step": 40, "rise": 0.061}, "had risen by 6.1 %"),
        ({"kept_step": 40, "rise": 0.061}, "weights of step 40"),
        ({"kept_step": 0, "rise": None}, "was not a number any more"),
        ({"kept_step": 0, "rise": None}, "the parent&#x27;s own"),
    ],
)
def test_the_page_says_that_the_brake_ended_it_and_what_was_kept(
    tina: Client, ended: Callable[..., Run], changes: dict[str, Any], words: str
) -> None:
    run = ended("succeeded")
    assert "The brake ended" not in tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    run.summary = {"brake": {"step": 60, "probe": "Prose", "limit": 0.05, **changes}}
    run.save()
    page = tina.get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "The brake ended this session" in page
    assert words.replace("&#x27;", "'") in page


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_run_brakes_and_leaves_a_checkpoint(
    submit: Callable[..., Run], prose: HeldOutSet
) -> None:
    watch = {"watch_every_steps": 2, "brake_rise": 1e-6}
    run = submit(probe_set=prose, watch=watch, learning_rate=1e-2, max_steps=6)
    job = job_run_now(run.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    run = Run.objects.get(pk=run.pk)
    assert run.summary["brake"]["probe"] == "Prose"
    assert run.summary["brake"]["kept_step"] == 0
    assert run.summary["displacement"] == 0.0
    assert run.output is not None
    assert any("the session was stopped" in one["message"] for one in run.warnings)
    assert metric_series(run, f"{PERPLEXITY}/h{prose.pk}")[0][0] == 0
