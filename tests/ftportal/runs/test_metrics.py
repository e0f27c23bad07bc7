"""What lists and charts say of runs, and the words of recipes."""

import dataclasses
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job, JobState
from ftportal.runs.drawings import run_charts, run_update
from ftportal.runs.metrics import loss_now, metric_smooth
from ftportal.runs.models import Run
from ftportal.runs.planning import Plan, plan
from ftportal.runs.recipes import method_name, recipe_words
from ftportal.runs.selectors import mixture_rows, outcome_rows, run_again_url, run_list
from tests.ftportal.house import measure
from training.config import GROUPS, RunConfig


@pytest.mark.django_db
def test_loss_and_its_mean_over_ten_steps(submit: Callable[..., Run]) -> None:
    run = submit()
    assert loss_now(run) is None
    assert run_list().get().loss_nats is None
    measure(run, {step: float(step) for step in range(1, 4)})
    assert loss_now(run) == pytest.approx(2.0)
    assert run_list().get().loss_nats == pytest.approx(2.0)  # the list says the same
    measure(run, {step: float(step) for step in range(4, 21)})
    assert loss_now(run) == pytest.approx(15.5)
    assert run_list().get().loss_nats == pytest.approx(15.5)
    smooth = metric_smooth(run, "loss_nats")
    assert smooth.measured[-1] == 20
    assert smooth.means[-1] == pytest.approx(15.5)
    measure(run, {19: None, 20: 0.0})  # a resumed attempt measures them again
    assert run_list().get().loss_nats == pytest.approx((sum(range(10, 19)) + 0.0) / 10)


@pytest.mark.django_db
@pytest.mark.parametrize("state", JobState.values)
@pytest.mark.parametrize("exit_code", [None, 0, 1, 3])
def test_the_database_has_the_word_of_the_badge(
    ended: Callable[..., Run], state: str, exit_code: int | None
) -> None:
    run = ended(state, exit_code=exit_code)
    assert Job.objects.get(pk=run.job_id).badge == run.state


@pytest.mark.django_db
def test_the_database_follows_the_recipe(submit: Callable[..., Run]) -> None:
    run = submit(learning_rate=3e-4, method={"name": "lora", "rank": 8})
    run.refresh_from_db()
    assert (run.method, run.learning_rate) == ("lora", 3e-4)
    run.recipe |= {"learning_rate": 1e-6, "method": {"name": "adamw"}}
    run.save()
    run.refresh_from_db()
    assert (run.method, run.learning_rate) == ("adamw", 1e-6)


@pytest.mark.django_db
def test_charts_and_their_updates_name_the_same_lines(
    submit: Callable[..., Run], batch_of: Callable[..., Batch]
) -> None:
    batches = [batch_of(f"Batch {n}", kind="dream" if n else "general") for n in range(3)]
    run = submit(mixture=[(batch, 1.0) for batch in batches], warmup_steps=2)
    charts = [chart for group in run_charts(run) for chart in group.charts]
    assert [chart.title for chart in charts] == [
        "Loss by batch",
        "Loss by kind",
        "Divergence from the parent",
        "Displacement of the weights",
        "Gradient norm",
        "Rank of the change, middle layer",
        "Gradient that is nearly nothing",
        "Frozen against full gradient",
        "Sharpness along the step",
        "Speed",
        "Learning rate",
    ]
    drawn = {name for chart in charts for name in chart.columns[1:]}
    assert set(run_update(run)["series"]) == drawn
    assert set(run_update(run, "kinds")["series"]) == {"General", "Dream"}


@pytest.mark.django_db
def test_the_recipe_in_words(submit: Callable[..., Run]) -> None:
    run = submit(learning_rate=3e-4, context_frozen=False)
    rows = dict(recipe_words(run.recipe))
    mixture = {str(row["batch"]): row["share"] for row in mixture_rows(run)}
    assert mixture == {"Talks": 0.75, "General mix": 0.25}
    assert rows["Method"] == "AdamW"
    assert rows["Learning rate"] == "3e-4"
    assert rows["Context"] == "with gradient"
    assert method_name({"method": {"name": "apollo", "rank": 256}}) == "APOLLO, rank 256"
    assert "APOLLO by" not in rows
    run = submit(name="Other", method={"name": "apollo"})
    assert dict(recipe_words(run.recipe))["APOLLO by"] == "ftportal"


@pytest.mark.django_db
def test_another_like_this_fills_the_form(submit: Callable[..., Run], talks: Batch) -> None:
    run = submit(method={"name": "lora", "rank": 8})
    query = parse_qs(urlsplit(run_again_url(run, learning_rate="5e-6")).query)
    assert query["learning_rate"] == ["5e-6"]
    assert query["method"] == ["lora"]
    assert query["rank"] == ["8"]
    assert query[f"weight_{talks.pk}"] == ["3"]
    reference = submit(name="Other", method={"name": "apollo", "implementation": "apollo-torch"})
    assert "implementation=apollo-torch" in run_again_url(reference)
    unclipped = submit(name="Unclipped", max_gradient_norm=None)
    kept = parse_qs(urlsplit(run_again_url(unclipped)).query, keep_blank_values=True)
    assert kept["max_gradient_norm"] == [""], "not the form's own default"
    changed = parse_qs(urlsplit(run_again_url(run, method="adamw")).query)
    assert "rank" not in changed, "a rank has no meaning for AdamW"


@pytest.mark.django_db
def test_lists_filter(submit: Callable[..., Run], ended: Callable[..., Run]) -> None:
    waiting = submit("Waiting")
    bad = ended("failed", name="Bad", exit_code=3)
    assert list(run_list(state="live")) == [waiting]
    assert list(run_list(state="diverged")) == [bad]
    assert list(run_list(state="succeeded")) == []
    assert set(run_list(method="adamw")) == {waiting, bad}
    assert list(run_list(method="lora")) == []
    assert list(run_list(text="wait")) == [waiting]
    assert set(run_list(parent="Tiny, pre-trained")) == {waiting, bad}
    assert set(run_list(parent="pre-tr")) == {waiting, bad}
    assert list(run_list(parent="nothing")) == []


def test_every_setting_of_the_engine_is_in_the_form() -> None:
    from ftportal.runs.forms import RunForm
    from ftportal.runs.recipes import FIELD_GROUPS, PLACES

    plain = {one.name for one in dataclasses.fields(RunConfig)} - set(GROUPS) - set(PLACES)
    assert (plain | set(FIELD_GROUPS)) - set(RunForm.base_fields) == set()


@pytest.mark.django_db
def test_a_plan_rests_on_earlier_runs_where_there_are_any(
    ended: Callable[..., Run], talks: Batch
) -> None:
    recipe: dict[str, Any] = {"method": {"name": "adamw"}, "max_steps": 4}
    recipe["watch"] = {"watch_every_steps": 0}
    recipe["diagnostics"] = {"change_rank": False, "gradient_cosine": False, "sharpness": False}
    run = ended("succeeded", name="Before")
    before = plan(parent=run.parent, mixture=[(talks, 1.0)], recipe=recipe)
    assert "assumed" in before.seconds_basis
    assert "shapes of the weights" in before.displacement_basis
    run.summary = {"update_norm": 100.0, "tokens_per_second": 70.0}
    run.save()
    after = plan(parent=run.parent, mixture=[(talks, 1.0)], recipe=recipe)
    assert after.seconds == pytest.approx(4 * 140 / 70), "4 steps of 60 + 80 tokens"
    assert after.displacement == pytest.approx(100 * 4 * 1e-5)
    assert "Before" in after.seconds_basis
    assert "Before" in after.displacement_basis


@pytest.mark.django_db
def test_the_forecast_of_time_counts_what_goes_beside_training(
    ended: Callable[..., Run], batch_of: Callable[..., Batch], talks: Batch, general: Batch
) -> None:
    """By hand, in forwards of one token: an example is 60 of context and 80 of decision, one
    decision, so 300 to learn; 16 of them are learnt."""
    held = batch_of("Held", held_out_count=2, examples=10)
    run = ended("succeeded", name="Before")
    run.summary = {"tokens_per_second": 140.0}  # 300 units a second
    run.save()
    off = {"change_rank": False, "gradient_cosine": False, "sharpness": False}
    quiet = {"watch": {"watch_every_steps": 0}, "diagnostics": off}

    def planned(mixture: list[tuple[Batch, float]], **changes: Any) -> Plan:
        recipe = {"method": {"name": "adamw"}, **quiet, **changes}
        return plan(parent=run.parent, mixture=mixture, recipe=recipe)

    both = [(talks, 1.0), (general, 1.0)]
    assert planned(both).seconds == pytest.approx(16)
    result = planned(both, defences={"ewc_strength": 1.0, "mask_below_probability": 0.001})
    beside = (8 * 4 * 140 + 16 * 140) / 300
    assert result.seconds == pytest.approx(16 + beside)
    assert "of the time 39 % for EWC, 19 % for looking for unlikely tokens" in result.seconds_basis
    run.forecast, run.summary = result.to_json(), {"seconds": 16.0, "session_seconds": 40.0}
    (time,) = [row for row in outcome_rows(run) if row.label == "Time"]
    assert (time.forecast, time.measured) == ("38 s", "40 s")
    # Two held-out examples at three looks (parent, multiples of 4) and the divergence: 4 of 32.
    watch = {"watch_every_steps": 4, "brake_rise": 0.05, "watch_kl_tokens": 128}
    general.held_out_count = 2
    general.save()
    result = planned([(held, 1.0), (general, 1.0)], watch=watch)
    assert "for watching" in result.seconds_basis
    exact = 2 * 140 * (1 + 4)
    once = 2 * 140, 4 * (60 + 32)
    others = sum(2 * one + min(4 * one, 0.05 * 14 * 300) for one in once)
    assert result.seconds == pytest.approx(14 + (exact + others) / 300)


@pytest.mark.django_db
def test_a_plan_warns(submit: Callable[..., Run], talks: Batch, general: Batch) -> None:
    parent = submit().parent
    safe = {"method": {"name": "adamw"}, "learning_rate": 2e-5, "epochs": 3}
    result = plan(parent=parent, mixture=[(talks, 3.0), (general, 1.0)], recipe=safe)
    assert [warning.message for warning in result.warnings] == [
        "48 examples; 1,000 to 10,000 are usual for one run."
    ]
    result = plan(
        parent=parent, mixture=[(talks, 1.0)], recipe={**safe, "learning_rate": 3e-4, "epochs": 9}
    )
    assert {warning.field for warning in result.warnings} == {"learning_rate", "epochs", "batches"}
    assert any("0 % of the examples are general" in one.message for one in result.warnings)
    vain = {
        "examples_per_step": 64,
        "context_frozen": False,
        "defences": {"ewc_strength": 1.0, "ewc_examples": 20},
    }
    result = plan(parent=parent, mixture=[(talks, 3.0), (general, 1.0)], recipe={**safe, **vain})
    assert {"examples_per_step", "gradient_cosine", "ewc_examples"} <= {
        warning.field for warning in result.warnings
    }
