"""A data folder of an older version: migrated, every page opened, stopped sessions ended."""

import io
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings

from engine.manifest import manifest_check
from ftportal.accounts.models import User
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.evaluations.models import Verdict
from ftportal.jobs.models import JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.promotions.ledger import ledger_check
from ftportal.promotions.models import PromotionEvent
from ftportal.runs.metrics import metric_series, metric_smooth
from ftportal.runs.models import Curve, Run
from ftportal.runs.services import run_resume
from tests.ftportal.house import measure
from tests.upgrade.routes import NEWER, addresses, expected_status, routes

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).with_name("data-0.1.0.tar.xz")
PLACE = "/srv/ftportal"
"""Where it stood when it was made, as `make.py` says."""
LEDGER_FIELDS = (
    *("id", "language_model", "number", "action", "actor", "from_checkpoint", "to_checkpoint"),
    *("reason", "evidence", "previous_hash", "hash", "created_at"),
)
"""Of an entry in the version before; the seal came later."""
PEOPLE = ("tina", "rob", "leo", "ada", "otto")
LONG = "a long curve"
Points = dict[tuple[int, str], dict[int, float | None]]
STOPPED = ("Stopped in APOLLO", "Stopped in LoRA")


def unpack(folder: Path) -> Path:
    """The data folder, below `folder`. The configs of started jobs name their files by whole
    paths, so these are written for the new place."""
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    data = folder / "data"
    for config in data.glob("jobs/*/config.json"):
        config.write_text(config.read_text().replace(PLACE, str(data)))
    return data


@pytest.fixture(scope="module")
def upgraded(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[SimpleNamespace]:
    """The old data folder, migrated, as the portal's own for this file's tests."""
    data = unpack(tmp_path_factory.mktemp("upgrade"))
    with django_db_blocker.unblock(), override_settings(FTPORTAL_DATA=data):
        connection.close()
        name = connection.settings_dict["NAME"]
        connection.settings_dict["NAME"] = str(data / "db.sqlite3")
        ledger = list(PromotionEvent.objects.order_by("pk").values(*LEDGER_FIELDS))
        points = points_of_before()
        call_command("migrate", verbosity=0)
        yield SimpleNamespace(data=data, ledger=ledger, points=points)
        connection.close()
        connection.settings_dict["NAME"] = name


def points_of_before() -> Points:
    """What runs measured, as the version before has it: (run, metric) -> step -> value.

    None of its runs is long, so one gets a long curve first.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM runs_run ORDER BY id LIMIT 1")
        (run,) = cursor.fetchone()
        rows = [(run, LONG, 2 * n, None if n % 50 == 7 else n / 7) for n in range(5000)]
        insert = "INSERT INTO runs_metric (run_id, name, step, value) VALUES (%s, %s, %s, %s)"
        cursor.executemany(insert, rows)
        cursor.execute("SELECT run_id, name, step, value FROM runs_metric ORDER BY step")
        points: Points = defaultdict(dict)
        for run, name, step, value in cursor.fetchall():
            points[run, name][step] = value
    return points


def test_every_point_is_where_it_was(upgraded: SimpleNamespace) -> None:
    kept = {(one.run_id, one.name) for one in Curve.objects.all()}
    assert kept == set(upgraded.points)
    for (run, name), values in upgraded.points.items():
        line = metric_series(Run.objects.get(pk=run), name, 10**6)
        assert dict(zip(*line, strict=True)) == values


def test_what_lists_say_of_points_is_as_it_was(upgraded: SimpleNamespace) -> None:
    for curve in Curve.objects.all():
        values = list(upgraded.points[curve.run_id, curve.name].values())
        known = [one for one in values if one is not None]
        assert curve.count == len(values)
        assert (curve.known_count, curve.last_value) == (len(known), values[-1])
        if not known:
            assert {curve.mean, curve.last_known, curve.first_half_mean} == {None}
            continue
        width = min(10, max(1, len(known) // 2))
        assert curve.last_known == known[-1]
        assert curve.mean == pytest.approx(sum(known[-10:]) / len(known[-10:]))
        assert curve.first_half_mean == pytest.approx(sum(known[:width]) / width)
        assert curve.last_half_mean == pytest.approx(sum(known[-width:]) / width)
    losses = {one.run_id: one.mean for one in Curve.objects.filter(name="loss_nats")}
    assert losses
    assert dict(Run.objects.exclude(loss_nats=None).values_list("pk", "loss_nats")) == losses


def test_an_old_curve_is_drawn_and_written_as_a_new_one(upgraded: SimpleNamespace) -> None:
    long = Curve.objects.get(name=LONG)
    thin = metric_smooth(long.run, LONG, 20)
    assert (thin.steps[0], thin.steps[-1], max(filter(None, thin.measured))) == (0, 9998, 4999 / 7)
    again: dict[int, float | None] = {1: 0.5, 5000: -1.0}
    measure(long.run, again, LONG)
    points = dict(zip(*metric_series(long.run, LONG, 10**6), strict=True))
    assert points == upgraded.points[long.run_id, LONG] | again


def test_the_old_data_are_worth_the_trouble(upgraded: SimpleNamespace) -> None:
    """Every table but those for logins has rows, else a page would be opened on nothing."""
    from django.apps import apps

    empty = {
        model._meta.label
        for config in apps.get_app_configs()
        if config.name.startswith("ftportal.")
        for model in config.get_models()
        if not model._base_manager.exists()
    }
    assert empty == NEWER


def test_the_ledger_is_as_it_was_and_its_chain_holds(upgraded: SimpleNamespace) -> None:
    assert [one["action"] for one in upgraded.ledger] == ["initial", "promote", "rollback"]
    now = list(PromotionEvent.objects.order_by("pk").values(*LEDGER_FIELDS))
    assert now == upgraded.ledger
    for language_model in LanguageModel.objects.all():
        assert ledger_check(language_model).intact


def test_verdicts_and_every_files_hash_are_still_there(
    upgraded: SimpleNamespace,
) -> None:
    outcomes = set(Verdict.objects.values_list("outcome", flat=True))
    assert outcomes == {"retained", "forgotten"}
    for checkpoint in Checkpoint.objects.all():
        assert not Path(checkpoint.path).is_absolute()
        assert manifest_check(checkpoint.directory)["sha256"] == checkpoint.manifest_hash


def test_the_check_command_has_nothing_to_say(upgraded: SimpleNamespace) -> None:
    words = io.StringIO()
    call_command("check", stdout=words, stderr=words)
    call_command("makemigrations", "--check", "--dry-run", stdout=words, stderr=words)
    assert words.getvalue().split("\n")[:2] == [
        "System check identified no issues (0 silenced).",
        "No changes detected",
    ]


@pytest.mark.parametrize("username", PEOPLE)
def test_every_page_opens(upgraded: SimpleNamespace, username: str) -> None:
    """Every route of the URL configuration: with every object's key for the administrator, for
    others, who differ by route, with the first and the last one's."""
    person = User.objects.get(username=username)
    client = Client(raise_request_exception=False)
    client.force_login(person)
    wrong = [
        f"{name}: {address}: {status}"
        for name, pattern in routes()
        for address in _worth_opening(list(addresses(name, pattern)), username)
        if (status := client.get(address).status_code) not in expected_status(name, person)
    ]
    assert wrong == []


def _worth_opening(every: list[str], username: str) -> list[str]:
    return every if username == "ada" else [*dict.fromkeys(every[:1] + every[-1:])]


def test_pages_that_take_several_things_open(upgraded: SimpleNamespace) -> None:
    """What the address asks for beside its path: runs to compare, a recipe to begin with."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username="tina"))
    runs = [("run", run.pk) for run in Run.objects.all()]
    places = ["/compare/?" + urlencode(runs), "/compare/?" + urlencode([*runs, ("format", "csv")])]
    places += [f"/runs/new/?run={pk}" for _, pk in runs]
    places += [f"/runs/new/?parent={one.pk}" for one in Checkpoint.objects.all()]
    assert {place: client.get(place).status_code for place in places} == dict.fromkeys(places, 200)


@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_session_goes_on_with_todays_engine(upgraded: SimpleNamespace, name: str) -> None:
    run = Run.objects.get(name=name)
    state = run.job.directory / run.job.resume_state
    before = int(state.name.removeprefix("step-"))
    curve = dict(zip(*metric_series(run, "loss_nats"), strict=True))
    assert max(curve) == before < run.recipe["max_steps"]
    run_resume(run=run)
    job = job_run_now(Run.objects.get(pk=run.pk).job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    run = Run.objects.get(pk=run.pk)
    assert run.output is not None
    manifest_check(run.output.directory)
    steps, losses = metric_series(run, "loss_nats")
    assert steps == list(range(1, run.recipe["max_steps"] + 1))
    assert dict(zip(steps[:before], losses[:before], strict=True)) == curve
    assert run.summary["steps"] == len(steps)
