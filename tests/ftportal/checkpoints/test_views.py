"""Pages of models and checkpoints: success, wrong method, outsider, wrong role, bad input."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from engine.manifest import MANIFEST_NAME, manifest_write
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.services import checkpoint_register

pytestmark = pytest.mark.django_db
NEW = "/models/new/"


@pytest.fixture
def child(language_model: LanguageModel, data_dir: Path) -> Checkpoint:
    """A checkpoint that a session made."""
    directory = data_dir / "jobs" / "output"
    shutil.copytree(language_model.pretrained.directory, directory)
    (directory / "notes.txt").write_text("changed")
    manifest_write(directory)
    return checkpoint_register(
        parent=language_model.pretrained,
        name="Night session",
        directory=directory,
        displacement_pretrained=2.5,
    )


def _page(client: Any, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.mark.parametrize("url", ["/checkpoints/", "/checkpoints/1/", NEW])
def test_without_a_login_there_is_nothing(client: Any, db: None, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 302
    assert response.url.startswith(reverse("accounts:login"))


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("post", "/checkpoints/"),
        ("post", "/checkpoints/1/"),
        ("get", "/checkpoints/1/delete/"),
        ("put", NEW),
    ],
)
def test_the_wrong_method_is_refused(
    client_of: Any, cast: SimpleNamespace, method: str, url: str
) -> None:
    assert getattr(client_of(cast.ada), method)(url).status_code == 405


def test_the_empty_list_says_what_to_do(client_of: Any, cast: SimpleNamespace) -> None:
    assert NEW in _page(client_of(cast.ada), "/checkpoints/")
    page = _page(client_of(cast.otto), "/checkpoints/")
    assert NEW not in page
    assert "An administrator can do this" in page


def test_the_list_filters(client_of: Any, cast: SimpleNamespace, child: Checkpoint) -> None:
    client = client_of(cast.otto)
    page = _page(client, "/checkpoints/?sort=sessions")
    assert page.index("Tiny, pre-trained") < page.index("Night session")
    assert "Night session" in _page(client, "/checkpoints/?text=night&model=Tiny")
    assert "No checkpoint fits" in _page(client, "/checkpoints/?text=day")


def test_a_checkpoint_shows_lineage_files_and_panels(
    client_of: Any, cast: SimpleNamespace, child: Checkpoint
) -> None:
    page = _page(client_of(cast.otto), reverse("checkpoints:checkpoint", args=[child.pk]))
    assert "Tiny, pre-trained" in page
    assert "2.50" in page
    assert child.manifest_hash in page
    assert "model.safetensors" in page
    for floor in ("runs", "evaluations", "reviews", "promotions"):
        assert f'hx-get="{reverse(f"{floor}:checkpoint_panel", args=[child.pk])}"' in page


def test_a_checkpoint_that_is_not_there_is_404(client_of: Any, cast: SimpleNamespace) -> None:
    assert client_of(cast.otto).get("/checkpoints/99/").status_code == 404


def test_deleting_is_for_trainers_and_administrators(
    client_of: Any,
    cast: SimpleNamespace,
    child: Checkpoint,
    django_capture_on_commit_callbacks: Any,
) -> None:
    page = reverse("checkpoints:checkpoint", args=[child.pk])
    url = reverse("checkpoints:checkpoint_delete", args=[child.pk])
    for person in (cast.otto, cast.rob, cast.leo):
        client = client_of(person)
        assert url not in _page(client, page)
        assert client.post(url).status_code == 403
    client = client_of(cast.tina)
    assert url in _page(client, page)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(url)
    assert not child.directory.exists()
    assert "were deleted" in _page(client, page)
    assert "Night session" not in _page(client, "/checkpoints/")
    assert "Night session" in _page(client, "/checkpoints/?deleted=yes")


def test_the_anchor_is_not_deleted(
    client_of: Any, cast: SimpleNamespace, language_model: LanguageModel
) -> None:
    anchor = language_model.pretrained
    url = reverse("checkpoints:checkpoint_delete", args=[anchor.pk])
    client = client_of(cast.tina)
    assert url not in _page(client, reverse("checkpoints:checkpoint", args=[anchor.pk]))
    assert "rollback anchor" in client.post(url, follow=True).content.decode()
    assert anchor.directory.is_dir()


def _model_copy(source: Path, data_dir: Path) -> Path:
    target = data_dir / "models" / "new"
    shutil.copytree(source, target)
    (target / MANIFEST_NAME).unlink(missing_ok=True)
    return target


def test_an_administrator_registers_a_model(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, tiny_model_directory: Path
) -> None:
    place = _model_copy(tiny_model_directory, data_dir)
    response = client_of(cast.ada).post(NEW, {"name": "Mine", "place": str(place)}, follow=True)
    assert "Mine is registered" in response.content.decode()
    assert LanguageModel.objects.get().pretrained.path == "models/new"


def test_a_model_of_the_hubs_cache_is_found_by_its_id(
    client_of: Any,
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--name"
    shutil.copytree(tiny_model_directory, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    client = client_of(cast.ada)
    assert client.post(NEW, {"name": "Mine", "place": "org/name@gone"}).status_code == 422
    assert client.post(NEW, {"name": "Mine", "place": "org/name"}).status_code == 302
    assert LanguageModel.objects.get().source == "org/name"


def test_registering_is_for_administrators(client_of: Any, cast: SimpleNamespace) -> None:
    for person in (cast.tina, cast.rob, cast.leo, cast.otto):
        assert client_of(person).get(NEW).status_code == 403
        assert client_of(person).post(NEW).status_code == 403


@pytest.mark.parametrize("place", ["/etc", "org/none", "../..", "a/../../etc", ""])
def test_a_place_outside_the_allowed_roots_is_refused(
    client_of: Any, cast: SimpleNamespace, data_dir: Path, place: str
) -> None:
    response = client_of(cast.ada).post(NEW, {"name": "Mine", "place": place})
    assert response.status_code == 422
    assert not LanguageModel.objects.exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: (place / "pytorch_model.bin").write_bytes(b"x"), "pickle"),
        (
            lambda place: (place / "config.json").write_text(
                '{"model_type": "ours", "auto_map": {"AutoModel": "x.Y"}}'
            ),
            "Code from a directory is never run",
        ),
        (
            lambda place: (place / "config.json").write_text(
                '{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}'
            ),
            "T5ForConditionalGeneration, type t5",
        ),
        (lambda place: (place / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda place: (place / "model.safetensors").unlink(), "no safetensors weights"),
    ],
)
def test_a_model_that_must_not_be_loaded_is_refused(
    client_of: Any,
    cast: SimpleNamespace,
    data_dir: Path,
    tiny_model_directory: Path,
    spoil: Any,
    words: str,
) -> None:
    place = _model_copy(tiny_model_directory, data_dir)
    spoil(place)
    response = client_of(cast.ada).post(NEW, {"name": "Mine", "place": str(place)})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not LanguageModel.objects.exists()
