"""What load balancers and Prometheus are told, without a login and without a session."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ftportal.dashboard import probes
from ftportal.jobs.models import Job, JobState

pytestmark = pytest.mark.django_db
TOKEN = "only-for-this-test"


@pytest.fixture(autouse=True)
def unknown_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test looks at the tables for itself."""
    monkeypatch.setattr(probes._Tables, "are_current", False)


@pytest.fixture
def measured(client: Any, settings: Any, data_dir: Path) -> Any:
    """`measured()`: what Prometheus reads, {(name, labels): value}."""
    settings.FTPORTAL_METRICS_TOKEN = TOKEN

    def read() -> dict[tuple[str, tuple[str, ...]], float]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }

    return read


def test_a_process_that_answers_is_alive_whatever_else_is_broken(
    client: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer.headers["Cache-Control"] and not answer.cookies


def test_a_portal_with_its_tables_and_folder_is_ready(client: Any, data_dir: Path) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, set(answer.json().values())) == (200, {"ok"})
    assert not answer.cookies


def test_what_is_missing_is_named_and_nothing_else_is_told(
    client: Any, data_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = MigrationRecorder.Migration.objects.filter(app="jobs").latest("pk")
    MigrationRecorder(connection).record_unapplied("jobs", last.name)
    settings.FTPORTAL_DATA = data_dir / "gone"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "database": "ok",
        "tables": "older than this version: run manage.py migrate",
        "folder": "is not there",
    }

    def broken() -> None:
        raise DatabaseError("host db.internal, user portal")

    monkeypatch.setattr(connection, "cursor", broken)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "does not answer" and b"internal" not in answer.content


def test_a_folder_that_cannot_be_written_to_is_not_ready(
    client: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who runs the tests may be root, whom no mode keeps out.
    monkeypatch.setattr("ftportal.dashboard.probes.os.access", lambda path, mode: False)
    assert client.get("/readyz").json()["folder"] == "cannot be written to"


def test_metrics_are_for_who_has_the_token(client: Any, settings: Any) -> None:
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
    settings.FTPORTAL_METRICS_TOKEN = TOKEN
    for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer é"}):
        answer = client.get("/metrics", headers=wrong)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_metrics_count_what_the_database_holds(measured: Any) -> None:
    long_ago = timezone.now() - timedelta(seconds=90)
    for kind, state in (("train", "queued"), ("train", "queued"), ("evaluate", "failed")):
        job = Job.objects.create(kind=kind, queue=kind, title="work", state=state)
        Job.objects.filter(pk=job.pk).update(queued_at=long_ago)
    values = measured()
    assert values["ftportal_jobs", ("train", JobState.QUEUED)] == 2
    assert values["ftportal_jobs", ("evaluate", JobState.FAILED)] == 1
    assert 90 <= values["ftportal_queue_wait_seconds", ("train",)] < 150
    assert ("ftportal_queue_wait_seconds", ("evaluate",)) not in values
    assert 0 < values["ftportal_disk_free_bytes", ()] <= values["ftportal_disk_bytes", ()]
    assert values["ftportal_broker_up", ()] == 0  # nothing listens in tests


def test_jobs_of_restricted_models_are_counted_too(measured: Any, language_model: Any) -> None:
    """A count names nobody's model, and who watches the portal must not miss work."""
    Job.objects.create(kind="train", queue="train", title="work", state=JobState.RUNNING)
    type(language_model).objects.filter(pk=language_model.pk).update(is_restricted=True)
    assert measured()["ftportal_jobs", ("train", JobState.RUNNING)] == 1


def test_probes_are_not_redirected_to_https(client: Any, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/healthz").status_code == 200
    assert client.get("/login/").status_code == 301
