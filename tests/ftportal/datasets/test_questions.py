"""What a batch asks before it is ready, and what the answers do."""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files import File
from django.urls import reverse

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.questions import questions_of
from ftportal.datasets.services import (
    DatasetError,
    batch_answer,
    held_out_set_create,
)
from tests.ftportal.datasets.conftest import lines, talk

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def keys(batch: Batch) -> list[str]:
    return [question.key for question in questions_of(batch)]


def test_a_field_that_is_not_used_is_asked_about(upload: Upload, read: Read) -> None:
    batch = read(upload(lines([talk(1, mood="calm"), talk(2), talk(3, id=7)])))
    assert batch.state == BatchState.ASKING
    (question,) = questions_of(batch)
    assert (question.key, question.title) == ("field:mood", "mood is not used")
    assert 'in 1 of 3 examples, such as "calm"' in question.text
    batch = batch_answer(batch=batch, accepted=["field:mood"])
    assert batch.state == BatchState.READY
    assert batch.example_count == 3 and batch.examples_path.is_file()


def test_nothing_is_asked_where_everything_is_known(upload: Upload, read: Read) -> None:
    batch = read(upload(lines([talk(1, id=1, source="x"), talk(2)])))
    assert batch.state == BatchState.READY
    assert batch.report["metadata"] == {"id": 1, "source": 1}


def test_every_question_needs_its_answer(upload: Upload, read: Read) -> None:
    unanswered = [{"role": "tool", "content": "42"}, {"role": "assistant", "content": "b"}]
    turns = [{"role": "user", "content": "q"}, *unanswered]
    batch = read(upload(lines([{"messages": turns, "mood": 1}, talk(1)])))
    assert keys(batch) == ["field:mood", "notice:result_without_call"]
    (row,) = questions_of(batch)[1].rows
    assert row[:2] == [1, "turn 2"]
    batch = batch_answer(batch=batch, accepted=["field:mood", "field:invented"])
    assert (batch.state, keys(batch)) == (BatchState.ASKING, ["notice:result_without_call"])
    assert batch_answer(batch=batch, accepted=keys(batch)).state == BatchState.READY
    with pytest.raises(DatasetError, match="any more"):
        batch_answer(batch=batch, accepted=[])


def test_preference_data_is_learnt_only_where_somebody_says_so(upload: Upload, read: Read) -> None:
    pairs = [{"prompt": f"q {n}", "chosen": f"good {n}", "rejected": "bad"} for n in range(4)]
    batch = read(upload(lines(pairs)))
    assert batch.state == BatchState.ASKING
    assert keys(batch) == ["preference"]
    batch = read(batch_answer(batch=batch, options={"preference": "chosen"}))
    assert batch.state == BatchState.READY
    assert batch.format == "dpo"
    assert b"bad" not in batch.examples_path.read_bytes()


def test_columns_are_mapped_and_remembered(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    table = b"question,answer,mood\n" + b"".join(b"q%d,a%d,calm\n" % (n, n) for n in range(6))
    batch = read(upload(table, file=File(io.BytesIO(table), name="talks.csv")))
    assert keys(batch) == ["columns"]
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert 'name="column:question"' in page and "q0" in page
    columns = {"column:question": "user", "column:answer": "assistant", "column:mood": "aside"}
    address = reverse("datasets:columns_preview", args=[batch.pk])
    preview = client.post(address, columns).content.decode()
    assert preview.count("<article") == 3 and "a2" in preview
    assert (
        "no column is the user"
        in client.post(address, {"column:answer": "assistant"}).content.decode()
    )
    client.post(reverse("datasets:batch_answer", args=[batch.pk]), columns)
    batch.refresh_from_db()
    assert read(batch).state == BatchState.READY
    other = File(io.BytesIO(table.replace(b"q0", b"other")), name="other.csv")
    again = read(upload(b"", file=other))
    page = client.get(reverse("datasets:batch", args=[again.pk])).content.decode()
    assert "Filled in as for the last file" in page
    assert '<option value="aside" selected>' in page


def test_what_measures_is_left_out_or_kept_with_a_reason(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    held_out_set_create(
        name="Rivers",
        domain="prose",
        source="made here",
        documents=["Which of these rivers flows through the city of Vienna before the sea"] * 3,
    )
    asked = talk(1)
    asked["messages"][0]["content"] = (
        "Say: which of these rivers flows through the city of Vienna before the sea?"
    )
    records = [talk(2), asked, talk(3)]
    batch = read(upload(lines(records)))
    assert keys(batch) == ["contamination"]
    address = reverse("datasets:batch_answer", args=[batch.pk])
    page = client_of(cast.tina).get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "Leave them out" in page and "Held-out text Rivers" in page
    keep = {"contamination": "keep", "reason": "A drill."}
    assert client_of(cast.tina).post(address, keep).status_code == 403
    client_of(cast.tina).post(address, {"accept_all": "yes"})
    batch.refresh_from_db()
    assert batch.state == BatchState.ASKING
    client_of(cast.tina).post(address, {"contamination": "leave_out"})
    batch.refresh_from_db()
    assert read(batch).example_count == 2
    assert list(batch.report["left_out"]) == ["it stands in what the model is measured by"]
    other = read(upload(lines([*records, talk(5, mood=1)])))
    assert keys(other) == ["contamination", "field:mood"]
    answer = reverse("datasets:batch_answer", args=[other.pk])
    client_of(cast.leo).post(answer, keep)
    other.refresh_from_db()
    assert keys(other) == ["field:mood"]  # what is not answered yet is asked on
    assert client_of(cast.leo).post(answer, {"accept_all": "yes"}).status_code == 403
    client_of(cast.tina).post(answer, {"accept_all": "yes"})
    other.refresh_from_db()
    assert (other.state, other.example_count) == (BatchState.READY, 4)
    page = client_of(cast.otto).get(reverse("datasets:batch", args=[other.pk])).content.decode()
    assert "A drill." in page
    assert "2 examples stand word for word in" in page
