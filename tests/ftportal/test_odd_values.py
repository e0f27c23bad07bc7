"""Every name that any page or form looks for, with values that fit nothing: never an error of ours.

Pages are asked with an address (or a form) that has the odd value under whatever name they look
for, so that a new route or field is tried without a word here; then with one name at a time.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django import forms
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from django.db import models, transaction
from django.db.models.functions import Length
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

import ftportal
from tests.ftportal import house
from tests.ftportal.dashboard import world
from tests.ftportal.hidden_world import handed_over_make, reviewed_make
from tests.ftportal.test_roles import READS, WRITES
from tests.upgrade.routes import ARGUMENTS, routes, rows_of
from tests.upgrade.routes import address as address_of

pytestmark = pytest.mark.django_db
ENDLESS = "9" * 5000
HUGE = "9" * 30
NOT_NUMBERS = (ENDLESS, "NaN", "1e999", "-Infinity", "1\0", "x" * 1_000_000, "0x10")
LONG = "x" * 60_000  # about what a web server lets through in an address
ODD = (ENDLESS, "1e999", "NaN", "a\0b", "-1", "9999-12-31", '"\\ud800"')
NO_PAGE = {"accounts:logout"}
"""What ends the session that asks."""


class _Odd(QueryDict):
    """Has one value under every name that is looked for, or only under `only`."""

    value: str
    only: str | None
    asked: set[str]

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return self.only in (None, name)

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return self.value

    def get(self, name: str, default: Any = None) -> Any:
        return self.value if name in self else default

    def getlist(self, name: str, default: Any = None) -> Any:
        return [self.value] if name in self else default or []


@pytest.fixture
def furnished(cast: SimpleNamespace, language_model: Any, monkeypatch: Any) -> SimpleNamespace:
    """A portal with at least one of everything that a route can name."""
    from ftportal.accounts.services import person_invite
    from ftportal.checkpoints.intakes.services import model_look
    from ftportal.datasets.services.uploading import upload_begin
    from ftportal.evaluations.services import own_benchmark_upload
    from ftportal.learnability.models import Learnability
    from ftportal.learnability.services import learnability_request
    from ftportal.mixtures.models import PartRole
    from ftportal.mixtures.services import mixture_make
    from tests.ftportal.learnability.test_learnability import MEANS, scored

    anchor = language_model.pretrained
    model_look(language_model=language_model, submitter=cast.ada)
    made = house.checkpoint_make(language_model, "Session", anchor, run_by=cast.tina)
    talks = house.batch_make(language_model, "Talks", count=12)
    mixture_make(name="Mix", language_model=language_model, parts=[(talks, PartRole.NEW, 1.0)])
    suite = world.suite_make(sets={"Manual": "prose"})
    right, nll = {"local_code": world.BEFORE}, {"Manual": [200.0] * 10}
    before, after = (
        world.evaluation_make(checkpoint=one, suite=suite, right=right, nll=nll)
        for one in (anchor, made)
    )
    world.judged(before, after)
    house.check_make(made, anchor)
    reviewed_make(made)
    handed_over_make(made, cast)
    person_invite(display_name="Ned", email="", roles=["reviewer"], invited_by=cast.ada)
    upload_begin(user=cast.tina, filename="x.jsonl", fingerprint="x", size_bytes=10)
    item = {"question": "The sky is", "choices": ["blue", "green"], "answer": "blue"}
    file = SimpleUploadedFile("items.jsonl", json.dumps(item).encode())
    own_benchmark_upload(uploaded_by=None, name="Colours", description="", file=file)
    asked = learnability_request(batch=talks, checkpoint=anchor, created_by=cast.tina)
    assert scored(asked, MEANS).measured and Learnability.objects.count() == 1
    return SimpleNamespace(cast=cast)


class _Asker:
    """Asks routes as somebody who may, and takes everything back that an answer changed."""

    def __init__(self, cast: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._clients = {}
        for name in ("tina", "rob", "leo", "ada"):
            self._clients[name] = Client(raise_request_exception=False)
            self._clients[name].force_login(getattr(cast, name))
        self.wrong: list[str] = []

    def ask(self, method: str, name: str, value: str, only: str | None = None) -> set[str]:
        """Ask one route; return the names that were looked for."""
        allowed = (READS if method == "get" else WRITES).get(name, set())
        if not allowed or name in NO_PAGE:
            return set()
        query = _Odd(mutable=True)
        query.value, query.only, query.asked = value, only, set()
        client = self._clients[sorted(allowed & self._clients.keys())[-1]]
        with self._monkeypatch.context() as patch, transaction.atomic():
            for part in ("GET", "POST"):
                patch.setattr(WSGIRequest, part, property(lambda _: query))
            status = client.generic(method.upper(), address(name)).status_code
            if status == 500:
                self.wrong.append(f"{method} {name} {only or 'all'}={value[:20]!r}")
            elif method == "post" and value == LONG:
                self._lengths_check(f"{method} {name} {only or 'all'}={value[:20]!r}")
            transaction.set_rollback(True)
        return query.asked

    def _lengths_check(self, what: str) -> None:
        """PostgreSQL refuses what is longer than its column, which SQLite keeps."""
        for model, fields in _TEXTS:
            longest = {f.name: models.Max(Length(f.name)) for f in fields}
            row = model._base_manager.aggregate(**longest)
            self.wrong += [
                f"{what}: {model._meta.label}.{f.name} has {row[f.name]} characters"
                for f in fields
                if row[f.name] is not None and row[f.name] > f.max_length
            ]


_TEXTS = [
    (model, fields)
    for model in apps.get_models()
    if model.__module__.startswith("ftportal.")
    and (
        fields := [
            field
            for field in model._meta.concrete_fields
            if isinstance(field, models.CharField) and field.max_length
        ]
    )
]


def address(name: str) -> str:
    """An address of the route, with a real object."""
    if name in ARGUMENTS or not dict(routes())[name].pattern.converters:
        return reverse(name, args=ARGUMENTS.get(name, ()))
    row = rows_of(name).first()
    assert row is not None, f"there is no object for {name}"
    return address_of(name, row)


@pytest.mark.slow
def test_no_odd_value_under_any_name_is_an_internal_error(
    furnished: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = _Asker(furnished.cast, monkeypatch)
    looked_for = 0
    for name, _ in routes():
        for method in ("get", "post"):
            asked = asker.ask(method, name, LONG)
            looked_for += len(asked)
            for value in ODD if asked else ():
                asked |= asker.ask(method, name, value)
            for one in sorted(asked) if len(asked) > 1 else ():
                for value in (LONG, ENDLESS, "a\0b") if method == "post" else (LONG,):
                    asker.ask(method, name, value, only=one)
    assert asker.wrong == []
    assert looked_for > 100


@pytest.mark.parametrize("odd", [b"\0", b"\xed\xa0\x80", b"\xff\xfe", b"\xc0\xaf", b"9" * 5000])
def test_odd_bytes_of_an_address_are_answered(
    furnished: SimpleNamespace, client_of: Callable[[Any], Client], odd: bytes
) -> None:
    names = ("text", "page", "sort", "model", "state", "checkpoint", "run", "line", "since")
    query = "&".join(f"{name}={quote(odd)}" for name in names)
    client = client_of(furnished.cast.ada)
    allowed = {400} if odd == b"\0" else {200, 302, 404, 410, 422}
    for name, _ in routes():
        if READS.get(name, set()) >= {"ada"}:
            status = client.get(f"{address(name)}?{query}").status_code
            assert status in allowed, name


def _forms() -> Iterator[type[forms.Form]]:
    for module in pkgutil.walk_packages(ftportal.__path__, "ftportal."):
        if "forms" in module.name:
            for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(one, forms.Form) and one.__module__ == module.name:
                    yield one


@pytest.mark.parametrize("form", list(_forms()), ids=lambda form: form.__name__)
def test_every_field_of_every_form_names_what_it_cannot_take(
    form: type[forms.Form], language_model: Any
) -> None:
    needs = {"model": language_model} if "model" in inspect.signature(form).parameters else {}
    filled: Callable[..., forms.Form] = partial(form, **needs)
    fields = filled().fields
    taken = []
    for value in (*NOT_NUMBERS, HUGE):
        errors = filled(dict.fromkeys(fields, value)).errors
        for name, field in fields.items():
            if isinstance(field, forms.FloatField):
                refuses = value != HUGE
            elif isinstance(field, forms.IntegerField):
                refuses = True
            else:
                refuses = "\0" in value or len(value) == 1_000_000
            if refuses and name not in errors and not isinstance(field, forms.BooleanField):
                taken.append(f"{name}={value[:10]!r}")
    assert taken == []
