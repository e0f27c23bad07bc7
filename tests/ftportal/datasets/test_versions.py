"""New versions of a batch, what people write down about one, and taking one back."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.services import (
    DatasetError,
    batch_version,
)
from ftportal.datasets.uploads import UploadRefusedError
from tests.ftportal.datasets.conftest import lines, talk

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def test_a_version_learns_only_what_succeeded(
    upload: Upload, read: Read, cast: SimpleNamespace
) -> None:
    records = [talk(n, reward=float(n % 2)) for n in range(1, 9)]
    records.append(talk(9))  # a plain line, which says nothing of its outcome
    batch = read(upload(lines(records), kind="agent_log"))
    assert batch.report["outcomes"] == {"reward": {"0": 4, "1": 4}}
    made = batch_version(
        batch=batch,
        made_by=cast.tina,
        reason="Only successes.",
        options={"outcome_least": {"reward": 1.0}},
    )
    made = read(made)
    assert (made.state, made.version, str(made)) == (BatchState.READY, 2, "Talks, version 2")
    assert made.example_count == 4
    assert made.report["left_out"] == {"reward below 1": 5}
    assert made.version_of == batch
    with pytest.raises(UploadRefusedError, match="there already"):
        batch_version(
            batch=batch,
            made_by=cast.tina,
            reason="Again.",
            options={"outcome_least": {"reward": 1.0}},
        )
    with pytest.raises(DatasetError, match="needs a reason"):
        batch_version(batch=batch, made_by=cast.tina, reason=" ")


def test_a_version_covers_personal_data(upload: Upload, read: Read, cast: SimpleNamespace) -> None:
    record = talk(1)
    record["messages"][0]["content"] = "I am jo.doe@firma.de, card 4111 1111 1111 1111"
    batch = read(upload(lines([record, talk(2)])))
    made = read(
        batch_version(batch=batch, made_by=cast.tina, reason="Privacy.", options={"redact": True})
    )
    text = made.examples_path.read_text()
    assert "I am [email], card [card]" in text
    assert "firma" not in text


def test_an_example_is_left_out_by_hand(
    ready: Batch, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[ready.pk])).content.decode()
    example = json.loads(ready.examples_path.read_text().split("\n")[1])
    assert f'name="leave_out" value="{example["sha256"]}"' in page
    form = {"leave_out": example["sha256"], "reason": "It is wrong."}
    client.post(reverse("datasets:version_new", args=[ready.pk]), form)
    made = read(Batch.objects.get(version_of=ready))
    assert made.example_count == 23
    assert made.report["left_out"] == {"It is wrong.": 1}
    assert example["sha256"] not in made.examples_path.read_text()


def test_what_people_write_down_is_kept_and_finds_the_batch(
    ready: Batch, client_of: Any, cast: SimpleNamespace
) -> None:
    address = reverse("datasets:batch_describe", args=[ready.pk])
    words = {"name": "Night", "origin": "our shop", "consent": "all staff", "tags": "calm, a, calm"}
    assert client_of(cast.otto).post(address, words).status_code == 403
    client_of(cast.tina).post(address, words)
    ready.refresh_from_db()
    assert (ready.name, ready.origin, ready.tag_list) == ("Night", "our shop", ["calm", "a"])
    page = client_of(cast.otto).get("/batches/?text=calm").content.decode()
    assert "Night" in page
    client_of(cast.tina).post(address, words | {"name": " "})
    ready.refresh_from_db()
    assert ready.name == "Night"


def test_a_withdrawn_batch_trains_nothing_more(
    ready: Batch, client_of: Any, cast: SimpleNamespace
) -> None:
    from ftportal.runs.services import mixture_problems

    address = reverse("datasets:batch_withdraw", args=[ready.pk])
    client = client_of(cast.tina)
    assert "needs a reason" in client.post(address, follow=True).content.decode()
    client.post(address, {"reason": "Two people said no."})
    ready.refresh_from_db()
    assert ready.withdrawn_at is not None
    (problem,) = mixture_problems(ready.language_model.pretrained, [(ready, 1.0)])
    assert "withdrawn: Two people said no." in problem.message
    page = client.get(reverse("datasets:batch", args=[ready.pk])).content.decode()
    assert "Two people said no." in page and "Train with it" not in page.split("<h2>Used")[0]
    assert (
        "withdrawn already" in client.post(address, {"reason": "x"}, follow=True).content.decode()
    )
