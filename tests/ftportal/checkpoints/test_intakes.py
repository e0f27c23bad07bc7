"""Models that come in: looked at by a worker, or fetched from a hub and registered."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from engine.manifest import manifest_check
from engine.process import BAD_INPUT
from ftportal.audit.models import AuditEntry
from ftportal.checkpoints.intakes.kind import intake_config, intake_sweep
from ftportal.checkpoints.intakes.services import intake_finish, model_fetch, model_look
from ftportal.checkpoints.models import Intake, LanguageModel
from ftportal.checkpoints.selectors import intakes_open, model_refusal
from ftportal.checkpoints.services import CheckpointError
from ftportal.checkpoints.storage import model_move_in
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError
from ftportal.jobs.supervisor import job_run_now
from tests.training.intake.hub_server import COMMIT, HUB_ID, hub_running
from training.config.intake import FETCHED_NAME

NEW = "/models/new/"


def fetch(**changes: Any) -> Intake:
    fields = {"name": "Ships", "hub_id": HUB_ID, "revision": "", "note": "", "licence": ""}
    return model_fetch(**(fields | changes), submitter=None)


def fetched(intake: Intake, source: Path) -> Intake:
    """The engine has left its output; the portal did nothing yet."""
    output = intake.job.output_directory
    output.parent.mkdir(parents=True)
    shutil.copytree(source, output)
    Job.objects.filter(pk=intake.job_id).update(state=JobState.SUCCEEDED, finish_handled=True)
    Intake.objects.filter(pk=intake.pk).update(
        findings={"commit": COMMIT, "licence": "mit", "class_name": "LlamaForCausalLM"}
    )
    intake.job.refresh_from_db()
    return intake


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_registered_model_is_looked_at(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, tmp_path: Path
) -> None:
    from tests.training.published import published_write

    place = published_write("gemma3_published", data_dir / "models" / "new")
    (place / "modeling_ours.py").write_text("raise SystemExit('it was run')")
    client = client_of(cast.ada)
    page = client.post(NEW, {"name": "Seeing", "place": str(place)}, follow=True)
    assert "Python code (modeling_ours.py), which is never run" in page.content.decode()
    intake = Intake.objects.get(language_model__name="Seeing")
    job = job_run_now(intake.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    text = client.get(page.request["PATH_INFO"]).content.decode()
    assert "Gemma3ForConditionalGeneration" in text
    assert "text does not reach" in text and "vision_tower.encoder" in text


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_model_of_the_hub_is_fetched_and_registered(
    client_of: Any,
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.FTPORTAL_HUB = True
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    client = client_of(cast.ada)
    with hub_running(tiny_model_directory) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        asked = client.post(NEW, {"name": "Ships", "place": f"{HUB_ID}@main"})
        assert asked.status_code == 302
        page = client.get(asked.url).content.decode()
        assert "Waiting" in page or "queued" in page
        intake = Intake.objects.get()
        job = job_run_now(intake.job)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, "")
    model = LanguageModel.objects.get()
    assert (model.name, model.source) == ("Ships", f"{HUB_ID}@{COMMIT}")
    assert model.licence == "apache-2.0"
    manifest_check(model.pretrained.directory)
    assert model.pretrained.path.startswith("models/ships-")
    assert f"Open {model}" in client.get(asked.url).content.decode()
    assert not intakes_open().exists()


@pytest.mark.django_db
def test_without_leave_nothing_is_fetched(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, settings: Any
) -> None:
    refused = client_of(cast.ada).post(NEW, {"name": "Ships", "place": HUB_ID})
    assert refused.status_code == 422
    assert "FTPORTAL_HUB=true lets workers fetch" in refused.content.decode()
    with pytest.raises(JobRefusedError, match="fetches nothing"):
        intake_config(fetch().job)
    settings.FTPORTAL_HUB = True
    assert intake_config(fetch(revision="v1", name="Other").job) == {
        "model": None,
        "hub_id": HUB_ID,
        "revision": "v1",
    }


@pytest.mark.django_db
def test_a_fetch_is_recorded_and_its_name_is_free(language_model: LanguageModel) -> None:
    fetch()
    assert AuditEntry.objects.filter(action="model.fetched").count() == 1
    with pytest.raises(CheckpointError, match="registered already"):
        fetch(name="Tiny")
    with pytest.raises(CheckpointError, match="no name"):
        fetch(name=" ")


@pytest.mark.django_db
def test_what_was_fetched_is_registered_once_whatever_dies(
    data_dir: Path, tiny_model_directory: Path
) -> None:
    intake = fetched(fetch(), tiny_model_directory)
    # It died between moving the files and writing the row.
    model_move_in(intake.job.output_directory, f"ships-{intake.job.pk.hex[:8]}")
    intake_finish(job=intake.job)
    intake_finish(job=intake.job)
    intake_sweep()
    model = LanguageModel.objects.get()
    assert model.intake == intake and model.licence == "mit"
    assert model.pretrained.directory.is_dir()


@pytest.mark.django_db
def test_a_name_that_was_taken_meanwhile_gets_a_number(
    data_dir: Path, tiny_model_directory: Path
) -> None:
    intake = fetched(fetch(), tiny_model_directory)
    LanguageModel.objects.create(name="Ships", source="elsewhere", parameter_count=1)
    intake_finish(job=intake.job)
    assert Intake.objects.get().language_model == LanguageModel.objects.get(name="Ships (2)")


@pytest.mark.django_db
def test_files_that_are_registered_already_are_told_and_removed(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, language_model: LanguageModel
) -> None:
    intake = fetched(fetch(), language_model.pretrained.directory)
    intake_finish(job=intake.job)
    assert LanguageModel.objects.get() == language_model
    text = client_of(cast.otto).get(reverse("checkpoints:intake", args=[intake.pk]))
    assert "registered already, as Tiny, pre-trained" in text.content.decode()
    assert [one.name for one in intakes_open()] == ["Ships"]
    assert "Not registered" in client_of(cast.otto).get("/checkpoints/").content.decode()
    assert [path.name for path in (data_dir / "models").iterdir()] == [
        language_model.pretrained.directory.name
    ]


@pytest.mark.django_db
def test_what_was_fetched_is_checked_as_any_other_model(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, tiny_model_directory: Path
) -> None:
    """Its tokenizer and template are tried where they can do nothing but be given up."""
    intake = fetched(fetch(), tiny_model_directory)
    (intake.job.output_directory / "chat_template.jinja").write_text("{% for")
    intake_finish(job=intake.job)
    page = client_of(cast.ada).get(reverse("checkpoints:intake", args=[intake.pk]))
    assert "This model cannot be used: chat_template.jinja" in page.content.decode()
    assert not LanguageModel.objects.exists()
    assert list((data_dir / "models").iterdir()) == []


@pytest.mark.django_db
def test_a_fetch_that_nobody_goes_on_with_leaves_its_files_after_a_week(data_dir: Path) -> None:
    intake = fetch()
    files = intake.job.directory / FETCHED_NAME
    files.mkdir(parents=True)
    ended = {"state": JobState.FAILED, "finish_handled": True}
    for days, kept in ((6, True), (8, False)):
        finished_at = timezone.now() - timedelta(days=days)
        Job.objects.filter(pk=intake.job_id).update(finished_at=finished_at, **ended)
        intake_sweep()
        assert (files.exists(), intakes_open().exists()) == (kept, kept)


@pytest.mark.django_db
def test_a_model_that_a_worker_refused_is_not_taught(language_model: LanguageModel) -> None:
    from ftportal.runs.services import RunRefusedError, run_submit

    intake = model_look(language_model=language_model, submitter=None)
    assert json.dumps(intake_config(intake.job)["hub_id"]) == "null"
    assert model_refusal(language_model) is None
    Job.objects.filter(pk=intake.job_id).update(
        state=JobState.FAILED,
        exit_code=BAD_INPUT,
        error_message="LlamaForCausalLM needs model.norm.weight",
        error_cure="Use a complete model.",
    )
    assert model_refusal(language_model) == intake
    with pytest.raises(RunRefusedError, match="cannot be taught: LlamaForCausalLM needs"):
        run_submit(
            submitter=None, name="R", parent=language_model.pretrained, mixture=[], recipe={}
        )
