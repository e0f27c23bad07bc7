"""Forward KL to the parent on pages, and why there may be none."""

import shutil
from pathlib import Path
from typing import Any

from django.utils import timezone

from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.models import Score, Suite
from ftportal.evaluations.selectors import divergence_missing, divergence_rows
from ftportal.evaluations.services import evaluation_request


def child_make(model: Any, directory: Path) -> Checkpoint:
    return Checkpoint.objects.create(
        language_model=model,
        parent=model.pretrained,
        depth=1,
        name="Child",
        path=str(directory),
        manifest_hash="1" * 64,
        size_bytes=1,
    )


def test_the_parent_is_named_only_where_the_two_can_be_compared(
    suite: Suite, language_model: Any, tmp_path: Path
) -> None:
    anchor = language_model.pretrained
    shutil.copytree(anchor.directory, tmp_path / "child")
    child = child_make(language_model, tmp_path / "child")
    job = evaluation_request(checkpoint=child, suite=suite, created_by=None).job
    assert engine_config(job)["parent"] == str(anchor.directory)
    assert divergence_missing(child) == ""
    assert "parent" not in engine_config(
        evaluation_request(checkpoint=anchor, suite=suite, created_by=None).job
    )
    tokenizer = tmp_path / "child" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert "parent" not in engine_config(job)
    assert "not that of its parent" in divergence_missing(child)
    anchor.deleted_at = timezone.now()
    anchor.save()
    child.refresh_from_db()
    assert "were deleted" in divergence_missing(child)


def test_the_page_shows_it_with_its_interval_or_says_why_not(
    suite: Suite, bare_model: Any, child_of: Any, measured: Any, client_of: Any, cast: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    evaluation = measured(child, {"local_code": "11", "local_language": "10"})
    url = f"/evaluations/{evaluation.pk}/"
    client = client_of(cast.otto)
    assert "cannot be read" in client.get(url).content.decode()
    Score.objects.create(
        evaluation=evaluation,
        benchmark=suite.held_out_sets.get().sha256,
        metric="forward_kl_nats",
        value=0.0123,
        stderr=0.002,
        n=4,
        higher_is_better=False,
        unit="nats",
    )
    (row,) = divergence_rows(evaluation)
    assert row.title == "Test prose" and row.low_nats is not None
    assert 0.0 < row.low_nats < 0.0123 < (row.high_nats or 0.0)
    page = client.get(url).content.decode()
    assert "How differently it speaks" in page and "0.0123" in page
    anchor = measured(bare_model.pretrained, {"local_code": "11", "local_language": "10"})
    page = client.get(f"/evaluations/{anchor.pk}/").content.decode()
    assert "How differently it speaks" not in page
