"""Exports: asked for, made by the real engine, measured like a checkpoint and never promoted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from engine.manifest import manifest_write
from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import checkpoint_list, checkpoints_available, lineage
from ftportal.checkpoints.services import CheckpointError, alias_set, checkpoint_delete
from ftportal.datasets.services import held_out_set_create
from ftportal.evaluations.models import Verdict
from ftportal.evaluations.services import suite_create, verdict_rule_create
from ftportal.handover import selectors
from ftportal.handover.kind import handover_sweep
from ftportal.handover.models import Damage, Export
from ftportal.handover.reader import FileDamagedError
from ftportal.handover.services import (
    ExportRefusedError,
    damage_note,
    export_finish,
    export_request,
)
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import kind_of
from ftportal.jobs.supervisor import job_run_now
from ftportal.promotions.selectors import candidates
from ftportal.promotions.services import PromotionRefusedError, promote
from ftportal.reviews.followups import spot_check_open_if_due
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.services import spot_check_open
from tests.ftportal.house import model_make, prompts_make, verdict_make

pytestmark = pytest.mark.django_db


def suite_of_texts() -> Any:
    texts = [f"A text of some words, number {number}, about foxes." for number in range(8)]
    held_out = held_out_set_create(name="Prose", domain="prose", source="here", documents=texts)
    return suite_create(
        name="Texts",
        description="",
        benchmarks=[],
        held_out_sets=[held_out],
        settings={"window_tokens": 256, "stride_tokens": 128},
        rule=verdict_rule_create(name="Standard", rule=Rule()),
        is_default=True,
    )


def engine_run(job: Job) -> Job:
    """The engine in this process; the job is done, its follow-up is not."""
    import json

    from engine.events import Done
    from training.export.__main__ import main

    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / "config.json").write_text(json.dumps(kind_of(job.kind).config(job)))
    job.fence += 1
    assert main([str(job.directory), "--attempt", str(job.fence)]) == 0
    log = (job.attempt_directory / "events.jsonl").read_text().splitlines()
    summary = json.loads(log[-1])["summary"]
    kind_of(job.kind).on_events(job, [Done(summary=summary)])
    job.state, job.finish_handled = JobState.SUCCEEDED, True
    job.save()
    return job


@pytest.fixture
def exported(served: SimpleNamespace, cast: SimpleNamespace) -> Export:
    """An export whose file is there; nothing measures it."""
    asked = export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)
    export_finish(job=engine_run(asked.job))
    return Export.objects.select_related("result", "source").get()


def test_it_is_a_checkpoint_that_only_measuring_sees(
    exported: Export, served: SimpleNamespace, cast: SimpleNamespace
) -> None:
    result = exported.result
    assert result is not None and result.is_export and result.parent == served.child
    assert (result.directory / exported.file_name).stat().st_size == exported.size_bytes
    assert result not in served.model.checkpoints.all()
    assert result not in served.child.children.all()
    assert result not in checkpoint_list() and result not in checkpoints_available()
    assert result not in candidates(served.model)
    assert lineage(result)[-2:] == [served.child, result]
    with pytest.raises(CheckpointError, match="is an export of Evening session"):
        alias_set(language_model=served.model, name="champion", checkpoint=result)
    with pytest.raises(PromotionRefusedError, match="promote what it was made of"):
        promote(checkpoint=result, actor=cast.leo, reason="try")
    for baseline in (served.anchor, served.child):
        verdict_make(result, baseline)
    assert spot_check_open_if_due(result) is None and not SpotCheck.objects.exists()


def test_its_page_is_that_of_the_checkpoint(
    exported: Export, client_of: Any, cast: SimpleNamespace
) -> None:
    client = client_of(cast.otto)
    page = client.get(reverse("checkpoints:checkpoint", args=[exported.result_id]))
    assert page.headers["Location"] == f"/checkpoints/{exported.source_id}/#hand-over"
    for name in ("blends:blends", "promotions:checkpoint_panel", "runs:checkpoint_panel"):
        assert client.get(reverse(name, args=[exported.result_id])).status_code == 404


def test_asked_twice_it_is_made_once_and_deleted_it_is_made_again(
    exported: Export, served: SimpleNamespace, cast: SimpleNamespace
) -> None:
    def ask() -> Export:
        return export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)

    sha256, result = exported.file_sha256, exported.result
    assert ask() == exported and Job.objects.filter(kind="export").count() == 1
    assert result is not None
    checkpoint_delete(checkpoint=result)
    exported.refresh_from_db()
    assert not exported.is_there
    export_finish(job=engine_run(ask().job))
    again = Export.objects.select_related("result").get()
    assert (again.file_sha256, again.result, again.is_there) == (sha256, result, True)


def test_a_spot_check_in_preparation_needs_no_export(
    exported: Export, served: SimpleNamespace
) -> None:
    prompts = prompts_make(2)
    spot_check_open(
        candidate=served.child, baseline=served.anchor, prompt_set=prompts, submitter=None
    )
    assert exported.result is not None
    checkpoint_delete(checkpoint=exported.result)
    exported.refresh_from_db()
    assert not exported.is_there
    with pytest.raises(CheckpointError, match="are being prepared"):
        checkpoint_delete(checkpoint=served.child)


def test_the_sweep_finishes_what_a_crash_cut_off(
    served: SimpleNamespace, cast: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    asked = export_request(source=served.child, quantisation="Q4_K_M", submitter=cast.tina)
    engine_run(asked.job)
    handover_sweep()
    asked.refresh_from_db()
    assert asked.result is not None
    assert not asked.result.evaluations.exists()
    suite = suite_of_texts()
    Export.objects.update(created_at=suite.created_at)
    handover_sweep()
    assert asked.result.evaluations.get().suite == suite


def test_what_cannot_be_exported_is_refused_before_any_work(
    served: SimpleNamespace, cast: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    other = model_make("Other").pretrained
    with pytest.raises(ExportRefusedError, match=r"config\.json: is missing"):
        export_request(source=other, quantisation="Q8_0", submitter=cast.tina)
    with pytest.raises(ExportRefusedError, match="Choose Q8_0 or Q4_K_M"):
        export_request(source=served.child, quantisation="Q1", submitter=cast.tina)
    monkeypatch.setattr("ftportal.handover.services.free_bytes", lambda: 10**8)
    with pytest.raises(ExportRefusedError, match=r"too little room on the disk: 0\.1 GB are free"):
        export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)
    assert not Job.objects.filter(kind="export").exists()


def test_the_panel_refuses_an_architecture_by_name(
    served: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    config = served.child.directory / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "GemmaForCausalLM"))
    selectors._problem.cache_clear()
    page = client_of(cast.tina).get(reverse("handover:panel", args=[served.child.pk]))
    assert "the architecture GemmaForCausalLM is not written as GGUF here" in page.content.decode()
    assert "Export Q8_0" not in page.content.decode()
    selectors._problem.cache_clear()


def test_the_source_stays_while_it_is_read(served: SimpleNamespace, cast: SimpleNamespace) -> None:
    export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)
    with pytest.raises(CheckpointError, match="is being made from it"):
        checkpoint_delete(checkpoint=served.child)


@pytest.mark.parametrize(("name", "may"), [("tina", True), ("leo", True), ("rob", False)])
def test_who_may_export(
    served: SimpleNamespace, cast: SimpleNamespace, client_of: Any, name: str, may: bool
) -> None:
    client = client_of(getattr(cast, name))
    url = reverse("handover:export", args=[served.child.pk])
    answer = client.post(url, {"quantisation": "Q8_0"})
    assert answer.status_code == (302 if may else 403)
    assert Export.objects.exists() is may
    if may:
        assert (
            "Choose one of" in client.post(url, {"quantisation": "x"}, follow=True).content.decode()
        )


def test_its_file_is_downloaded_and_checked(
    exported: Export, cast: SimpleNamespace, client_of: Any
) -> None:
    client = client_of(cast.leo)
    url = reverse("handover:file", args=[exported.result_id, exported.file_name])
    answer = client.get(url)
    assert 'filename="Evening-session-1-Q8_0.gguf"' in answer.headers["Content-Disposition"]
    assert answer.headers["ETag"] == f'"{exported.file_sha256}"'
    assert exported.result is not None
    path = exported.result.directory / exported.file_name
    assert b"".join(answer.streaming_content) == path.read_bytes()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileDamagedError):
        b"".join(client.get(url).streaming_content)
    assert Damage.objects.get().checkpoint_id == exported.result_id
    panel = client.get(reverse("handover:panel", args=[exported.source_id])).content.decode()
    assert "An export of this checkpoint is damaged" in panel


def test_its_file_is_deleted_by_a_button_and_the_figures_stay(
    exported: Export, cast: SimpleNamespace, client_of: Any, django_capture_on_commit_callbacks: Any
) -> None:
    assert exported.result is not None
    url = reverse("handover:export_delete", args=[exported.pk])
    assert client_of(cast.rob).post(url).status_code == 403
    with django_capture_on_commit_callbacks(execute=True):
        client_of(cast.tina).post(url)
    assert not exported.result.directory.exists()
    page = client_of(cast.tina).get(reverse("handover:panel", args=[exported.source_id]))
    assert "Export Q8_0" in page.content.decode()


def test_a_manifest_that_was_rewritten_with_its_file_is_refused(
    exported: Export, cast: SimpleNamespace, client_of: Any
) -> None:
    assert exported.result is not None
    directory = exported.result.directory
    (directory / exported.file_name).write_bytes(b"something else")
    manifest_write(directory)
    url = reverse("handover:file", args=[exported.result_id, exported.file_name])
    page = client_of(cast.leo).get(url, follow=True).content.decode()
    assert "the manifest is not the one that it was registered with" in page


def test_a_new_file_in_a_damaged_ones_place_is_whole(
    exported: Export, cast: SimpleNamespace, client_of: Any
) -> None:
    result = exported.result
    assert result is not None
    damage_note(checkpoint=result, file_name=exported.file_name, problem="it was changed.")
    panel = reverse("handover:panel", args=[exported.source_id])
    client = client_of(cast.tina)
    assert "is damaged" in client.get(panel).content.decode()
    checkpoint_delete(checkpoint=result)
    assert "is damaged" not in client.get(panel).content.decode()
    asked = export_request(source=exported.source, quantisation="Q8_0", submitter=cast.tina)
    export_finish(job=engine_run(asked.job))
    assert not Damage.objects.exists()
    assert "Download Q8_0" in client.get(panel).content.decode()


def test_an_export_that_can_never_be_written_is_tried_anew_when_asked_again(
    served: SimpleNamespace, cast: SimpleNamespace
) -> None:
    def ask() -> Export:
        return export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)

    first = ask().job
    first.state, first.exit_code, first.finish_handled = JobState.FAILED, 2, True
    first.save()
    again = ask()
    assert again.job != first and again.job.is_live
    again.job.state, again.job.exit_code, again.job.finish_handled = JobState.FAILED, 1, True
    again.job.save()
    assert ask().job == again.job
    assert Job.objects.get(pk=again.job.pk).is_live


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_verdict_compares_the_file_with_the_checkpoint(
    served: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    """By real jobs: export, then the checkpoint's own evaluation of both, then the verdict."""
    suite_of_texts()
    asked = export_request(source=served.child, quantisation="Q8_0", submitter=cast.tina)
    assert job_run_now(asked.job).state == JobState.SUCCEEDED
    waiting = Job.objects.filter(kind="evaluate", state=JobState.QUEUED).order_by("created_at")
    while (job := waiting.first()) is not None:
        ended = job_run_now(job)
        assert ended.state == JobState.SUCCEEDED, ended.error_message
    asked.refresh_from_db()
    verdict = Verdict.objects.get(
        after__checkpoint=asked.result_id, before__checkpoint=served.child
    )
    (text,) = verdict.evidence["perplexities"]
    assert 0 < abs(text["perplexity_after"] / text["perplexity_before"] - 1) < 0.02
    page = client_of(cast.otto).get(reverse("handover:panel", args=[served.child.pk]))
    assert "What quantising cost" in page.content.decode()
    assert "nats a token on Prose" in page.content.decode()
    report = reverse("evaluations:report", args=[asked.result_id])
    assert client_of(cast.otto).get(report).status_code == 200
    assert Checkpoint.objects.filter(is_export=True).count() == 0
