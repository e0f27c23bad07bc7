"""What all tests share: a small named cast, a tiny real language model."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PASSWORD = "correct horse"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first: one of them at the end would keep one core idle."""
    long = {one.path for one in items if one.get_closest_marker("slow")}
    browser = {one.path for one in items if one.get_closest_marker("browser")}
    items.sort(key=lambda one: (one.path not in long, one.path not in browser))


@pytest.fixture(scope="session")
def tiny_model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory with a random model of a few thousand parameters."""
    from tests.tiny_model import tiny_model_write

    directory = tmp_path_factory.mktemp("tiny") / "model"
    tiny_model_write(directory)
    return directory


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def either_device(request: pytest.FixtureRequest) -> str:
    """The processor, and again the GPU: the same test for both, so that one of a GPU that is
    seldom at hand is known to be right."""
    if request.param == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA GPU")
    return str(request.param)


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """An empty FTPORTAL_DATA of this test's own."""
    settings.FTPORTAL_DATA = tmp_path / "var"
    settings.FTPORTAL_DATA.mkdir()
    yield settings.FTPORTAL_DATA


@pytest.fixture
def cast(db: None) -> SimpleNamespace:
    """Tina trains, Rob and Rosa review, Leo releases, Ada administers, Otto only looks."""
    from ftportal.accounts.models import User

    def person(name: str, **roles: bool) -> User:
        one = User(username=name, first_name=name.capitalize(), **roles)
        one.set_password(PASSWORD)
        one.save()
        return one

    return SimpleNamespace(
        tina=person("tina", is_trainer=True),
        rob=person("rob", is_reviewer=True),
        rosa=person("rosa", is_reviewer=True),
        leo=person("leo", is_releaser=True),
        ada=person("ada", is_superuser=True, is_staff=True),
        otto=person("otto"),
    )


@pytest.fixture
def client_of(client: Any) -> Callable[[Any], Any]:
    """`client_of(user)`: a test client logged in as that user."""
    from django.test import Client

    def log_in(user: Any) -> Client:
        own = Client()
        own.force_login(user)
        session = own.session
        session["seen"] = int(time.time())  # its first page is not this test's first
        session.save()
        return own

    return log_in


@pytest.fixture
def language_model(db: None, data_dir: Path, tiny_model_directory: Path) -> Any:
    """The tiny model, registered with its pre-trained checkpoint."""
    from ftportal.checkpoints.services import language_model_register

    return language_model_register(
        name="Tiny",
        source="made by the tests",
        note="",
        licence="Apache-2.0",
        directory=tiny_model_directory,
    )
