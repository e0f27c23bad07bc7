"""Uploads in pieces: each piece at its place, kept over cut lines, one's own only."""

import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.datasets.models import Batch, Upload
from ftportal.datasets.services.uploading import OffsetError, upload_append, uploads_drop
from tests.ftportal.datasets.conftest import conversation_lines

pytestmark = pytest.mark.django_db
NEW = "/batches/uploads/"


def begin(client: Any, content: bytes, **more: Any) -> Any:
    form = {"filename": "talks.jsonl", "size": len(content), "fingerprint": "f", **more}
    return client.post(NEW, form)


def send(client: Any, url: str, piece: bytes, offset: int) -> Any:
    return client.post(
        f"{url}?offset={offset}", data=piece, content_type="application/octet-stream"
    )


def test_a_file_in_pieces_becomes_a_batch(
    client_of: Any, cast: SimpleNamespace, language_model: Any
) -> None:
    client, content = client_of(cast.tina), conversation_lines(40)
    told = begin(client, content).json()
    assert told["offset"] == 0
    for start in range(0, len(content), 1000):
        answer = send(client, told["url"], content[start : start + 1000], start)
        assert answer.json() == {"offset": min(start + 1000, len(content))}
    form = {"kind": "conversation", "decision_rule": "last", "upload": told["id"]}
    answer = client.post(reverse("datasets:batch_new"), form, headers={"X-Upload": "script"})
    assert answer.status_code == 201
    batch = Batch.objects.get()
    assert batch.source_path.read_bytes() == content
    assert (batch.name, batch.filename, batch.size_bytes) == ("talks", "talks.jsonl", len(content))
    assert not Upload.objects.exists()


def test_the_same_file_goes_on_where_it_was(client_of: Any, cast: SimpleNamespace) -> None:
    client, content = client_of(cast.tina), b"x" * 5000
    told = begin(client, content).json()
    send(client, told["url"], content[:3000], 0)
    again = begin(client, content).json()
    assert (again["url"], again["offset"]) == (told["url"], 3000)
    assert begin(client, content, fingerprint="other").json()["offset"] == 0


def test_a_piece_at_the_wrong_place_is_told_the_right_one(
    client_of: Any, cast: SimpleNamespace
) -> None:
    client, content = client_of(cast.tina), b"0123456789"
    told = begin(client, content).json()
    send(client, told["url"], content[:4], 0)
    for offset in (0, 2, 7):
        answer = send(client, told["url"], b"zz", offset)
        assert (answer.status_code, answer.json()) == (409, {"offset": 4})
    send(client, told["url"], content[4:], 4)
    assert Upload.objects.get().path.read_bytes() == content


def test_what_a_cut_line_left_is_overwritten(client_of: Any, cast: SimpleNamespace) -> None:
    client, content = client_of(cast.tina), b"0123456789"
    told = begin(client, content).json()
    send(client, told["url"], content[:4], 0)
    upload = Upload.objects.get()
    with upload.path.open("ab") as file:
        file.write(b"torn")  # written, but never answered for
    send(client, told["url"], content[4:], 4)
    assert upload.path.read_bytes() == content


def test_more_than_was_announced_is_refused(client_of: Any, cast: SimpleNamespace) -> None:
    client = client_of(cast.tina)
    told = begin(client, b"0123").json()
    answer = send(client, told["url"], b"01234567", 0)
    assert answer.status_code == 422
    assert "More arrived" in answer.json()["message"]
    assert Upload.objects.get().received_bytes == 0


@pytest.mark.parametrize(
    ("size", "words"), [(0, "empty"), (5000, "larger than the limit"), ("x", "size is missing")]
)
def test_files_that_cannot_be_taken(
    client_of: Any, cast: SimpleNamespace, settings: Any, size: Any, words: str
) -> None:
    settings.FTPORTAL_UPLOAD_LIMIT_BYTES = 4096
    answer = begin(client_of(cast.tina), b"", size=size)
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    assert not Upload.objects.exists()


def test_only_whole_uploads_of_ones_own_become_batches(
    client_of: Any, cast: SimpleNamespace, language_model: Any
) -> None:
    told = begin(client_of(cast.tina), b"0123").json()
    cast.rob.is_trainer = True
    cast.rob.save()
    rob = client_of(cast.rob)
    assert send(rob, told["url"], b"0123", 0).status_code == 404
    assert send(client_of(cast.otto), told["url"], b"0123", 0).status_code == 403
    assert begin(client_of(cast.otto), b"0123").status_code == 403
    form = {"kind": "conversation", "decision_rule": "last"}
    new = reverse("datasets:batch_new")
    for person, key in ((rob, told["id"]), (rob, str(uuid.uuid4()))):
        answer = person.post(new, form | {"upload": key})
        assert answer.status_code == 422 and "gone" in answer.content.decode()
    answer = client_of(cast.tina).post(new, form | {"upload": told["id"]})
    assert "not arrived as a whole" in answer.content.decode()
    assert "Choose a file" in client_of(cast.tina).post(new, form).content.decode()
    assert not Batch.objects.exists()


def test_unfinished_uploads_go_after_a_day(client_of: Any, cast: SimpleNamespace) -> None:
    from datetime import timedelta

    from django.utils import timezone

    begin(client_of(cast.tina), b"0123")
    path = Upload.objects.get().path
    uploads_drop()
    assert path.is_file()
    Upload.objects.update(created_at=timezone.now() - timedelta(days=2))
    uploads_drop()
    assert not path.exists() and not Upload.objects.exists()


def test_one_person_cannot_pile_up_uploads(client_of: Any, cast: SimpleNamespace) -> None:
    client = client_of(cast.tina)
    answers = [begin(client, b"0123", fingerprint=str(number)) for number in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [422]
    assert json.loads(answers[-1].content)["cure"]


class Stream:
    """Pieces as they arrive from a client, then a cut line."""

    def __init__(self, *pieces: bytes, on_read: Any = None) -> None:
        self.pieces = list(pieces)
        self.on_read = on_read

    def read(self, size: int, /) -> bytes:
        if self.on_read:
            self.on_read()
        if not self.pieces:
            raise OSError("the line was cut")
        return self.pieces.pop(0)


def test_what_arrived_before_the_line_was_cut_is_kept(
    client_of: Any, cast: SimpleNamespace
) -> None:
    begin(client_of(cast.tina), b"0123456789")
    upload = Upload.objects.get()
    assert upload_append(upload=upload, offset=0, stream=Stream(b"012", b"34")) == 5
    upload.refresh_from_db()
    assert (upload.received_bytes, upload.path.read_bytes()) == (5, b"01234")


@pytest.mark.django_db(transaction=True)
def test_a_slow_client_holds_no_lock(client_of: Any, cast: SimpleNamespace, data_dir: Any) -> None:
    from django.db import connection

    begin(client_of(cast.tina), b"01")
    atomic: list[bool] = []
    stream = Stream(b"01", on_read=lambda: atomic.append(connection.in_atomic_block))
    upload_append(upload=Upload.objects.get(), offset=0, stream=stream)
    assert atomic == [False, False]


def test_of_two_that_send_the_same_piece_one_moves_the_mark(
    client_of: Any, cast: SimpleNamespace
) -> None:
    begin(client_of(cast.tina), b"0123")
    first, second = Upload.objects.get(), Upload.objects.get()
    upload_append(upload=first, offset=0, stream=Stream(b"01"))
    with pytest.raises(OffsetError) as told:
        upload_append(upload=second, offset=0, stream=Stream(b"01"))
    assert told.value.received_bytes == 2
