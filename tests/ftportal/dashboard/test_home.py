"""The home page: the pipeline, the champion, what waits, what runs, and what sessions cost."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.dashboard.selectors.home import champions, latest_sessions, live_jobs, path_steps
from ftportal.dashboard.selectors.sessions import loss_ends
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction
from tests.ftportal.dashboard import world
from tests.ftportal.house import measure

HOME = "/"


def promote(contrast: SimpleNamespace, checkpoint: Any, action: str = "promote") -> None:
    ledger_append(
        language_model=contrast.model,
        action=PromotionAction(action),
        actor=contrast.cast.leo,
        to=checkpoint,
        reason="for the test",
        evidence={},
    )


def test_it_shows_what_sessions_cost(contrast: SimpleNamespace, client_of: Any) -> None:
    page = client_of(contrast.cast.otto).get(HOME)
    assert page.status_code == 200
    text = page.content.decode()
    for words in ("Careful", "Reckless", "Retained", "Forgotten", "rate 3e-4", "+73.3", "−35.0"):
        assert words in text
    assert "style=" not in text


def test_it_sends_outsiders_to_the_login(db: None, client: Any) -> None:
    response = client.get(HOME)
    assert response.status_code == 302
    assert reverse("accounts:login") in response["Location"]


def test_it_rejects_post(cast: SimpleNamespace, client_of: Any) -> None:
    assert client_of(cast.tina).post(HOME).status_code == 405


def test_htmx_gets_the_part_that_changes(contrast: SimpleNamespace, client_of: Any) -> None:
    response = client_of(contrast.cast.otto).get(HOME, headers={"HX-Request": "true"})
    text = response.content.decode()
    assert "<!doctype html>" not in text
    assert 'id="home"' in text
    assert 'id="navigation" hx-swap-oob="true"' in text
    assert "HX-Request" in response["Vary"]


def test_a_history_restore_gets_the_whole_page(contrast: SimpleNamespace, client_of: Any) -> None:
    headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    response = client_of(contrast.cast.otto).get(HOME, headers=headers)
    assert response.content.decode().startswith("<!doctype html>")


def test_it_polls_only_while_something_lives(contrast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(contrast.cast.otto)
    assert b'hx-trigger="every 3s"' not in client.get(HOME).content
    job = world.job_make(title="Measure something", state="running", kind="evaluate")
    text = client.get(HOME).content.decode()
    assert 'hx-trigger="every 3s"' in text
    assert "Measure something" in text
    assert reverse("jobs:progress", args=[job.pk]) not in text  # one poll, not two


def test_a_session_has_its_numbers(contrast: SimpleNamespace) -> None:
    reckless, careful = latest_sessions()
    assert careful.general_share == pytest.approx(0.25)
    assert careful.gain.why_missing == "not measured on its own held-out examples yet"
    assert careful.loss is not None
    assert (careful.loss.first_nats, careful.loss.last_nats) == (3.0, 1.0)
    assert reckless.cost is not None
    changes = {part.name: part.value for part in reckless.cost.parts}
    assert changes == pytest.approx({"prose": 73.3253, "code": 0.0, "right answers": -35.0})
    beyond = {part.name for part in reckless.cost.parts if part.is_beyond}
    assert beyond == {"prose", "right answers"}
    assert (reckless.stage, careful.stage) == ("barred", "candidate")
    assert reckless.verdict == contrast.verdict_reckless


def test_losses_of_a_short_run_are_averaged_by_halves(contrast: SimpleNamespace) -> None:
    short = world.run_make(
        name="Short", parent=contrast.anchor, losses=[4.0, 2.0, 1.0, 0.0, 0.5], state="running"
    )
    single = world.run_make(name="One", parent=contrast.anchor, losses=[4.0], state="running")
    measure(short, {6: None})
    ends = loss_ends([short.pk, single.pk])
    assert (ends[short.pk].first_nats, ends[short.pk].last_nats) == (3.0, 0.25)
    assert (ends[single.pk].first_nats, ends[single.pk].last_nats) == (4.0, 4.0)


def test_a_running_session_shows_its_progress(contrast: SimpleNamespace, client_of: Any) -> None:
    world.run_make(
        name="Under way",
        parent=contrast.anchor,
        state="running",
        losses=[2.0, 1.5],
        job={"progress_done": 3, "progress_total": 10, "seconds_left": 65},
    )
    text = client_of(contrast.cast.otto).get(HOME).content.decode()
    assert "30 %, about 1 min 5 s left" in text


def test_the_path_counts_every_step(contrast: SimpleNamespace) -> None:
    world.batch_make(name="New", model=contrast.model, state="reading")
    world.spot_check_make(candidate=contrast.careful.output, baseline=contrast.anchor)
    steps = {step.title: (step.count, step.now) for step in path_steps()}
    assert steps == {
        "Batches": (2, "1 being read"),
        "Runs": (2, ""),
        "Checkpoints": (3, ""),
        "Evaluations": (3, ""),
        "Reviews": (0, "1 open"),
        "Promotions": (1, ""),  # the ledger begins with the model
    }


def test_the_champion_is_first_the_pretrained_one(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    (champion,) = champions()
    assert champion.is_pretrained
    assert champion.cost is None
    text = client_of(contrast.cast.otto).get(HOME).content.decode()
    assert "no session has been promoted" in text


def test_a_promoted_champion_names_who_and_what_it_cost(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    promote(contrast, contrast.careful.output)
    (champion,) = champions()
    assert champion.checkpoint == contrast.careful.output
    assert champion.cost is not None
    assert champion.event is not None
    assert champion.event.actor == contrast.cast.leo
    text = client_of(contrast.cast.otto).get(HOME).content.decode()
    assert "promoted by Leo" in text


def test_a_rollback_to_the_anchor_is_told(contrast: SimpleNamespace, client_of: Any) -> None:
    promote(contrast, contrast.careful.output)
    promote(contrast, contrast.anchor, action="rollback")
    assert "rolled back by Leo" in client_of(contrast.cast.otto).get(HOME).content.decode()


def test_jobs_at_work_hide_the_queue(cast: SimpleNamespace) -> None:
    first = world.job_make(title="First", state="queued")
    second = world.job_make(title="Second", state="queued")
    assert (live_jobs().shown, live_jobs().next) == ([first], [second])
    third = world.job_make(title="Third", state="running")
    assert (live_jobs().shown, live_jobs().next) == ([third], [first, second])


def test_an_empty_portal_says_what_to_do(cast: SimpleNamespace, client_of: Any) -> None:
    assert b"Register a model" in client_of(cast.ada).get(HOME).content
    looks = client_of(cast.otto).get(HOME).content
    assert b"Register a model" not in looks
    assert b"Upload a batch" not in looks


def test_a_model_without_sessions_says_what_to_do(
    cast: SimpleNamespace, data_dir: Any, client_of: Any
) -> None:
    model = world.model_make()
    assert b"Upload the first batch" in client_of(cast.tina).get(HOME).content
    assert b"Upload the first batch" not in client_of(cast.rob).get(HOME).content
    world.batch_make(name="One", model=model)
    assert b"Start the first run" in client_of(cast.tina).get(HOME).content


def test_queries_do_not_grow_with_sessions(
    contrast: SimpleNamespace, client_of: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        run = world.run_make(name=f"Run {number}", parent=contrast.anchor, losses=[1.0, 2.0])
        world.spot_check_make(candidate=world.output_of(run), baseline=contrast.anchor)
    client = client_of(contrast.cast.otto)
    with django_assert_max_num_queries(40):  # what a page that follows live jobs asks for
        assert client.get(HOME, headers={"HX-Request": "true"}).status_code == 200
    with django_assert_max_num_queries(52):  # with first steps, chains, files read again
        assert client.get(HOME).status_code == 200
