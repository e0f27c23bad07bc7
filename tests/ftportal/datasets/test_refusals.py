"""Batches that are refused: good lines, problems as CSV, mended files, and how long they stay."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.services import (
    DatasetError,
    batch_good_only,
    refused_files_drop,
)
from tests.ftportal.datasets.conftest import lines, talk

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def test_the_good_lines_are_imported_on_request(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(lines([talk(1), talk(2)]) + b"not JSON\nnor this\n" + lines([talk(3)])))
    assert batch.state == BatchState.REFUSED
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "Import the 3 good ones" in page and "3, 4" in page
    assert (
        client_of(cast.otto).post(reverse("datasets:import_good", args=[batch.pk])).status_code
        == 403
    )
    client.post(reverse("datasets:import_good", args=[batch.pk]))
    batch.refresh_from_db()
    assert (batch.state, batch.example_count, batch.problem_count) == (BatchState.READY, 3, 2)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "2 problems; left out" in page
    with pytest.raises(DatasetError, match="Nothing of it"):
        batch_good_only(batch=batch)


def test_problems_download_as_csv_without_formulas(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(b"=1+1\n"))
    address = reverse("datasets:problems_csv", args=[batch.pk])
    text = client_of(cast.otto).get(address).content.decode()
    head, row = csv.reader(io.StringIO(text))
    assert head == ["line", "problem", "what to do", "text"]
    assert row[0] == "1" and row[3] == "'=1+1"


def test_an_upload_that_mends_keeps_name_and_choices(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(b"x", name="Night", kind="agent_log", decision_rule="all"))
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    address = f"{reverse('datasets:batch_new')}?mends={batch.pk}"
    assert address in page
    form = client.get(address).content.decode()
    assert 'value="Night"' in form
    assert 'value="agent_log" required checked' in form
    assert 'value="all" checked' in form


def _is_held_out(record: Any) -> bool:
    from corpus.formats import example_parse
    from corpus.ingestion import is_held_out

    return is_held_out(example_parse(record).sha256())


def test_a_batch_that_trains_nothing_is_refused(upload: Upload, read: Read) -> None:
    held_out = next(talk(n) for n in range(12, 400) if _is_held_out(talk(n)))
    batch = read(upload(lines([held_out])))
    assert batch.state == BatchState.REFUSED
    assert "held out" in batch.problems.get().message
    off = {"role": "assistant", "content": "a", "weight": 0}
    left = read(upload(lines([{"messages": [{"role": "user", "content": "q"}, off]}])))
    assert left.state == BatchState.REFUSED
    assert "no decision tokens" in left.problems.get().message


def test_refused_files_go_after_a_week(upload: Upload, read: Read) -> None:
    batch = read(upload(b"x"))
    refused_files_drop()
    assert batch.source_path.is_file()
    Batch.objects.filter(pk=batch.pk).update(refused_at=timezone.now() - timedelta(days=8))
    refused_files_drop()
    assert not batch.directory.exists()


def test_what_cannot_be_tokenised_is_left_out_of_the_good_ones(upload: Upload, read: Read) -> None:
    odd = talk(1, chat_template_kwargs={"enable_thinking": False})
    batch = read(upload(lines([odd, talk(2), talk(3)])))
    assert (batch.state, batch.good_count) == (BatchState.REFUSED, 2)
    assert "enable_thinking" in batch.problems.get().message
    batch = batch_good_only(batch=batch)
    assert (batch.state, batch.example_count, batch.held_out_count) == (BatchState.READY, 2, 0)
    assert len(batch.examples_path.read_text().splitlines()) == 2
    alone = read(upload(lines([odd])))
    with pytest.raises(DatasetError, match="Nothing of it"):
        batch_good_only(batch=alone)
