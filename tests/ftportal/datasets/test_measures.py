"""Held-out sets and prompt sets: services, uploaded files, pages."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files import File
from django.urls import reverse

from ftportal.datasets.documents import documents_read, prompts_read
from ftportal.datasets.models import HeldOutSet, PromptSet
from ftportal.datasets.selectors import held_out_documents, prompts_by_group
from ftportal.datasets.services import (
    DatasetError,
    default_prompt_set_seed,
    held_out_set_create,
    prompt_set_create,
)

pytestmark = pytest.mark.django_db
ASK = {"group": "code", "messages": [{"role": "user", "content": "Write a loop."}]}


def _file(content: str | bytes, name: str) -> File:
    return File(io.BytesIO(content if isinstance(content, bytes) else content.encode()), name=name)


def _prose(documents: list[str], name: str = "Prose") -> HeldOutSet:
    return held_out_set_create(name=name, domain="prose", source="tests", documents=documents)


def test_a_held_out_set_keeps_each_text_once(data_dir: Path) -> None:
    made = _prose(["one", "two", "one", " "])
    assert made.document_count == 2
    assert made.size_bytes == 6
    assert held_out_documents(made, 0, 9) == ["one", "two"]
    first = json.loads(made.path.read_text().splitlines()[0])
    assert len(first["sha256"]) == 64
    assert [path.name for path in (data_dir / "held_out").iterdir()] == [made.path.name]


def test_the_same_texts_again_are_the_same_set(data_dir: Path) -> None:
    first = _prose(["one"])
    first.path.unlink()
    assert _prose(["one"], "Other name") == first
    assert first.path.is_file()


@pytest.mark.parametrize("documents", [[], [" "], ["other"]])
def test_it_refuses_no_text_and_a_taken_name(data_dir: Path, documents: list[str]) -> None:
    _prose(["one"])
    with pytest.raises(DatasetError):
        _prose(documents)
    assert HeldOutSet.objects.count() == 1
    assert len(list((data_dir / "held_out").iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("a.jsonl", '{"text": "one"}\n\n{"text": "two"}', ["one", "two"]),
        ("a.txt", "one\nstill one\n\ntwo\n", ["one\nstill one", "two"]),
        ("a.txt", "one\n\nstill one\n---\r\ntwo", ["one\n\nstill one", "two"]),
        ("a.txt", "\ufeffone", ["one"]),
        ("a.txt", "", []),
    ],
)
def test_files_become_documents(name: str, content: str, documents: list[str]) -> None:
    assert documents_read(_file(content, name)) == documents


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"text": "one"}\n{"words": 2}', "Line 2 has no text"),
        ("a.jsonl", b"[]", "Line 1"),
        ("a.jsonl", b"one", "Line 1: not JSON"),
        ("a.jsonl", b'{"text": "one \\ud83d"}', "Line 1: the record contains half of a surrogate"),
        ("a.txt", b"caf\xe9", "not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_by_line(name: str, content: bytes, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        documents_read(_file(content, name))


def test_texts_too_large_for_the_web_process_and_endless_prompts_are_refused(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    monkeypatch.setattr("ftportal.datasets.documents.TEXT_LIMIT_BYTES", 100)
    with pytest.raises(DatasetError, match="larger than"):
        documents_read(_file("x" * 101, "a.txt"))
    with pytest.raises(DatasetError, match="1,001 prompts"):
        prompt_set_create(name="Endless", prompts=[ASK] * 1001)


def test_prompts_stand_in_their_groups_in_order() -> None:
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Who am I?"},
    ]
    made = prompt_set_create(
        name="Mine", prompts=[{"group": "conversation", "messages": talk}, ASK]
    )
    groups = dict(prompts_by_group(made))
    assert list(groups) == ["Code", "Conversation coherence"]
    assert groups["Conversation coherence"][0].messages == talk


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [ASK, ASK],
        [{**ASK, "group": "poetry"}],
        [{**ASK, "messages": []}],
        [{**ASK, "messages": "Hi"}],
        [{**ASK, "messages": [{"role": "user", "content": " "}]}],
        [{**ASK, "messages": [*ASK["messages"], {"role": "assistant", "content": "x"}]}],
    ],
)
def test_what_is_no_prompt_is_refused_and_nothing_kept(prompts: list[Any]) -> None:
    with pytest.raises(DatasetError):
        prompt_set_create(name="Mine", prompts=prompts)
    assert not PromptSet.objects.exists()


def test_a_prompt_set_says_how_long_an_answer_may_be() -> None:
    assert prompt_set_create(name="Usual", prompts=[ASK]).max_new_tokens == 512
    assert prompt_set_create(name="Own", prompts=[ASK], max_new_tokens=40).max_new_tokens == 40
    for wrong in (0, 1_000_000):
        with pytest.raises(DatasetError, match="not possible"):
            prompt_set_create(name="Wrong", prompts=[ASK], max_new_tokens=wrong)


def test_prompts_are_read_from_lines() -> None:
    lines = '{"group": "code", "prompt": "Hi"}\n' + json.dumps(ASK)
    first, second = prompts_read(_file(lines, "p.jsonl"))
    assert first == {"group": "code", "messages": [{"role": "user", "content": "Hi"}]}
    assert second == ASK
    with pytest.raises(DatasetError, match="Line 1"):
        prompts_read(_file('{"group": "code"}', "p.jsonl"))


def test_the_default_prompts_cover_all_groups_and_are_made_once() -> None:
    made = default_prompt_set_seed()
    assert default_prompt_set_seed() == made
    groups = dict(prompts_by_group(made))
    assert list(groups) == ["Code", "Filesystem reasoning", "Conversation coherence"]
    assert all(len(prompts) == 4 for prompts in groups.values())
    assert all(len(one.messages) > 1 for one in groups["Conversation coherence"])


HELD_OUT = {"name": "Own", "domain": "Prose", "source": "me"}


def test_a_held_out_set_is_uploaded_and_shown(
    client_of: Any, cast: SimpleNamespace, data_dir: Path
) -> None:
    client = client_of(cast.tina)
    response = client.post(
        "/held-out/new/", {**HELD_OUT, "file": _file("first\n\nsecond", "a.txt")}, follow=True
    )
    made = HeldOutSet.objects.get()
    assert made.domain == "prose"
    assert "second" in response.content.decode()
    assert "Own" in client.get("/held-out/").content.decode()
    made.path.unlink()
    page = client.get(reverse("datasets:held_out_set", args=[made.pk])).content.decode()
    assert "missing on disk" in page


def test_a_prompt_set_is_uploaded_and_shown(client_of: Any, cast: SimpleNamespace) -> None:
    client = client_of(cast.tina)
    response = client.post(
        "/prompts/new/", {"name": "Own", "file": _file(json.dumps(ASK), "a.jsonl")}, follow=True
    )
    assert "Write a loop." in response.content.decode()
    assert "Answers are cut at 512 tokens." in response.content.decode()
    said = {"name": "Short", "max_new_tokens": "40"}
    made = client.post("/prompts/new/", said | {"file": _file(json.dumps(ASK), "a.jsonl")})
    assert made.status_code == 302
    assert "40 tokens" in client.get("/prompts/").content.decode()
    said = {"name": "Endless", "max_new_tokens": "0"}
    form = client.post("/prompts/new/", said | {"file": _file(json.dumps(ASK), "a.jsonl")})
    assert form.status_code == 422
    assert 'value="Endless"' in form.content.decode()
    assert "Own" in client.get("/prompts/").content.decode()


@pytest.mark.parametrize("place", ["/held-out/new/", "/prompts/new/"])
def test_a_bad_upload_is_answered_on_the_form(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, settings: Any, place: str
) -> None:
    client = client_of(cast.tina)
    assert client.get(place).status_code == 200
    answer = client.post(place, {**HELD_OUT, "file": _file(b"\xe9", "a.jsonl")})
    assert answer.status_code == 422
    assert "not UTF-8" in answer.content.decode()
    settings.FTPORTAL_UPLOAD_LIMIT_BYTES = 100
    answer = client.post(place, {**HELD_OUT, "file": _file("x" * 200, "a.jsonl")})
    assert answer.status_code == 422
    assert "larger than the limit" in answer.content.decode()
    assert not HeldOutSet.objects.exists()
    assert not PromptSet.objects.exists()


@pytest.mark.parametrize("place", ["/held-out/", "/prompts/"])
def test_only_trainers_and_administrators_upload(
    client_of: Any, cast: SimpleNamespace, place: str
) -> None:
    for person in (cast.otto, cast.rob, cast.leo):
        client = client_of(person)
        assert f"{place}new/" not in client.get(place).content.decode()
        assert client.get(f"{place}new/").status_code == 403
        assert client.post(f"{place}new/").status_code == 403
    assert f"{place}new/" in client_of(cast.ada).get(place).content.decode()
