"""Pages of batches: success, wrong method, outsider, wrong role, fragment."""

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch, BatchState
from tests.ftportal.datasets.conftest import conversation_lines

pytestmark = pytest.mark.django_db
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]
NEW = "/batches/new/"


def _form(content: bytes, name: str = "talks.jsonl", **changes: Any) -> dict[str, Any]:
    file = io.BytesIO(content)
    file.name = name
    return {"kind": "conversation", "decision_rule": "last", "name": "", "file": file, **changes}


def _page(client: Any, url: str, **headers: str) -> str:
    response = client.get(url, headers=headers)
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.mark.parametrize("url", ["/batches/", NEW, "/batches/1/", "/held-out/", "/prompts/"])
def test_without_a_login_there_is_nothing(client: Any, db: None, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 302
    assert response.url.startswith(reverse("accounts:login"))


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("post", "/batches/"),
        ("post", "/batches/1/"),
        ("put", NEW),
        ("get", "/batches/1/delete/"),
        ("post", "/held-out/"),
        ("post", "/prompts/"),
    ],
)
def test_the_wrong_method_is_refused(
    client_of: Any, cast: SimpleNamespace, method: str, url: str
) -> None:
    assert getattr(client_of(cast.tina), method)(url).status_code == 405


def test_the_empty_list_says_what_to_do(client_of: Any, cast: SimpleNamespace) -> None:
    assert NEW in _page(client_of(cast.tina), "/batches/")
    assert NEW not in _page(client_of(cast.otto), "/batches/")


def test_the_list_filters_and_keeps_its_filter(
    client_of: Any, cast: SimpleNamespace, upload: Upload, read: Read
) -> None:
    upload(conversation_lines(2), name="Morning")
    read(upload(b"no JSON", name="Evening"))
    client = client_of(cast.otto)
    assert "Evening" not in _page(client, "/batches/?text=morn")
    assert "Morning" not in _page(client, "/batches/?state=refused")
    assert "No batch fits" in _page(client, "/batches/?kind=dream")


def test_the_list_sorts_and_ignores_what_it_does_not_know(
    client_of: Any, cast: SimpleNamespace, upload: Upload
) -> None:
    upload(conversation_lines(2), name="Alpha")
    upload(conversation_lines(3), name="Beta")
    client = client_of(cast.otto)
    page = _page(client, "/batches/?sort=-name")
    assert page.index("Beta") < page.index("Alpha")
    _page(client, "/batches/?sort=password&page=99")


def test_only_trainers_upload(
    client_of: Any, cast: SimpleNamespace, language_model: LanguageModel
) -> None:
    for person in (cast.otto, cast.rob, cast.leo, cast.ada):
        client = client_of(person)
        assert client.get(NEW).status_code == 403
        assert client.post(NEW, _form(b"{}")).status_code == 403
    assert not Batch.objects.exists()


def test_the_form_without_a_model_says_so(client_of: Any, cast: SimpleNamespace) -> None:
    assert "No model yet" in _page(client_of(cast.tina), NEW)


def test_a_form_without_script_uploads(
    client_of: Any, cast: SimpleNamespace, language_model: LanguageModel
) -> None:
    response = client_of(cast.tina).post(NEW, _form(conversation_lines(2)))
    batch = Batch.objects.get()
    assert response.status_code == 302
    assert response.url == reverse("datasets:batch", args=[batch.pk])
    assert batch.name == "talks"
    assert batch.uploaded_by == cast.tina
    assert batch.language_model == language_model


def test_the_script_gets_the_new_address(
    client_of: Any, cast: SimpleNamespace, language_model: LanguageModel
) -> None:
    response = client_of(cast.tina).post(
        NEW, _form(conversation_lines(2), name="x.jsonl"), headers={"X-Upload": "script"}
    )
    assert response.status_code == 201
    assert response["Location"] == reverse("datasets:batch", args=[Batch.objects.get().pk])


def test_a_refusal_names_the_batch_with_a_link(
    client_of: Any, cast: SimpleNamespace, upload: Upload
) -> None:
    first = upload(conversation_lines(2))
    address = reverse("datasets:batch", args=[first.pk])
    client = client_of(cast.tina)
    whole = client.post(NEW, _form(conversation_lines(2)))
    fragment = client.post(NEW, _form(conversation_lines(2)), headers={"X-Upload": "script"})
    for response in (whole, fragment):
        assert response.status_code == 422
        assert address in response.content.decode()
    assert b"<html" in whole.content
    assert b"<html" not in fragment.content
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "poem"}, "Kind"),
        ({"kind": ""}, "Kind"),
        ({"decision_rule": "none"}, "Decision"),
        ({"file": ""}, "File"),
        ({"name": "n" * 121}, "Name"),
    ],
)
def test_a_wrong_field_is_named(
    client_of: Any,
    cast: SimpleNamespace,
    language_model: LanguageModel,
    changes: dict[str, Any],
    words: str,
) -> None:
    response = client_of(cast.tina).post(NEW, {**_form(conversation_lines(2)), **changes})
    assert response.status_code == 422
    assert words in response.content.decode().split('id="upload-problem"')[1].split("<form")[0]
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "The file is empty"), (b"x" * 3000, "larger than the limit")]
)
def test_empty_and_too_large_files_are_refused(
    client_of: Any,
    cast: SimpleNamespace,
    language_model: LanguageModel,
    settings: Any,
    content: bytes,
    words: str,
) -> None:
    settings.FTPORTAL_UPLOAD_LIMIT_BYTES = 2048
    response = client_of(cast.tina).post(NEW, _form(content))
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not Batch.objects.exists()


def test_nobodys_files_reach_the_disk_and_all_files_of_a_request_count(
    client_of: Any, cast: SimpleNamespace, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(
        TemporaryFileUploadHandler,
        "receive_data_chunk",
        lambda self, data, start: written.append(len(data)),
    )
    settings.FTPORTAL_UPLOAD_LIMIT_BYTES = 2048

    def files() -> dict[str, Any]:
        return {f"file{number}": SimpleUploadedFile("a", b"x" * 1000) for number in range(5)}

    nobody = Client(enforce_csrf_checks=True)
    nobody.cookies["csrftoken"] = "a" * 32
    assert nobody.post(NEW, files()).status_code == 403
    assert written == []
    client_of(cast.tina).post(NEW, files())
    assert sum(written) == 2000


def test_a_batch_that_is_read_shows_progress(
    client_of: Any, cast: SimpleNamespace, upload: Upload
) -> None:
    page = _page(client_of(cast.otto), reverse("datasets:batch", args=[upload(b"{}").pk]))
    assert "Reading the file" in page
    assert 'hx-trigger="every 2s"' in page


def test_a_refused_batch_shows_its_problems(
    client_of: Any, cast: SimpleNamespace, upload: Upload, read: Read
) -> None:
    batch = read(upload(b'{"text": 1}\n<script>alert(1)</script>\n'))
    page = _page(client_of(cast.tina), reverse("datasets:batch", args=[batch.pk]))
    assert "2 problems; nothing was imported" in page
    assert "Not JSON" in page
    assert "<script>alert" not in page


def test_a_ready_batch_shows_decisions_apart_from_context(
    client_of: Any, cast: SimpleNamespace, ready: Batch
) -> None:
    page = _page(client_of(cast.otto), reverse("datasets:batch", args=[ready.pk]))
    assert '<span class="tok-decision">a</span><span class="tok-decision">n</span>' in page
    assert "question 1&lt;|im_end|&gt;" in page
    assert "1–5 of 24" in page


def test_the_preview_pages_as_a_fragment(
    client_of: Any, cast: SimpleNamespace, ready: Batch
) -> None:
    url = reverse("datasets:batch", args=[ready.pk]) + "?page=5"
    fragment = _page(client_of(cast.otto), url, **{"HX-Request": "true"})
    assert "<html" not in fragment
    assert fragment.count("Example 2") == 4
    assert "line 21 " in fragment
    restored = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in _page(client_of(cast.otto), url, **restored)


def test_a_long_context_is_folded(
    client_of: Any, cast: SimpleNamespace, upload: Upload, read: Read
) -> None:
    line = {"prompt": "a long story " * 100, "completion": "short"}
    batch = read(upload(json.dumps(line).encode()))
    page = _page(client_of(cast.otto), reverse("datasets:batch", args=[batch.pk]))
    assert "more characters of context" in page


def test_examples_missing_on_disk_are_said_to_be_missing(
    client_of: Any, cast: SimpleNamespace, ready: Batch
) -> None:
    ready.examples_path.unlink()
    page = _page(client_of(cast.otto), reverse("datasets:batch", args=[ready.pk]))
    assert "missing on disk" in page


def test_delete_is_for_trainers_and_administrators(
    client_of: Any, cast: SimpleNamespace, ready: Batch
) -> None:
    url = reverse("datasets:batch_delete", args=[ready.pk])
    page = reverse("datasets:batch", args=[ready.pk])
    for person in (cast.otto, cast.rob, cast.leo):
        client = client_of(person)
        assert url not in _page(client, page)
        assert client.post(url).status_code == 403
    client = client_of(cast.tina)
    assert url in _page(client, page)
    assert client.post(url).url == reverse("datasets:batches")
    assert not Batch.objects.exists()


def test_a_batch_being_read_has_no_delete_button(
    client_of: Any, cast: SimpleNamespace, upload: Upload
) -> None:
    batch = upload(conversation_lines(2))
    url = reverse("datasets:batch_delete", args=[batch.pk])
    client = client_of(cast.tina)
    assert url not in _page(client, reverse("datasets:batch", args=[batch.pk]))
    assert "still being read" in client.post(url, follow=True).content.decode()
    batch.refresh_from_db()
    assert batch.state == BatchState.READING


def test_a_batch_that_is_not_there_is_404(client_of: Any, cast: SimpleNamespace) -> None:
    client = client_of(cast.tina)
    assert client.get("/batches/99/").status_code == 404
    assert client.post("/batches/99/delete/").status_code == 404
