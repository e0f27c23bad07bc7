"""Who is not named on a restricted model sees nothing of it: no list, count, choice or address."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.db import models, transaction
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse

from ftportal.accounts.models import User
from ftportal.accounts.sight import SightManager, SightMiddleware, seen_by
from ftportal.audit.models import AuditEntry
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.services import model_people_set
from ftportal.datasets.contamination import names_shown, slice_name
from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job
from ftportal.jobs.registry import kinds
from ftportal.jobs.selectors import Queues
from ftportal.mixtures.models import Mixture
from ftportal.mixtures.services import MixtureError, mixture_make
from ftportal.runs.models import Run
from ftportal.runs.services import name_free
from tests.ftportal.hidden_world import (
    WORD,
    hidden_world_make,
    measured_make,
    restrict,
    reviewed_make,
)
from tests.ftportal.house import batch_make, checkpoint_make
from tests.ftportal.test_roles import ADMIN, READS, WRITES
from tests.upgrade.routes import ARGUMENTS, OBJECTS, address, routes, rows_of

BASE = Path(__file__).parents[2] / "ftportal"
ClientOf = Callable[[Any], Client]
pytestmark = pytest.mark.django_db


def ours() -> Iterator[type[models.Model]]:
    for config in apps.get_app_configs():
        if config.name.startswith("ftportal."):
            yield from config.get_models()


def hangs_on_a_model(table: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether foreign keys lead from a table to the language models."""
    if table is LanguageModel:
        return True
    others = {
        field.related_model
        for field in table._meta.get_fields()
        if (field.many_to_one or field.one_to_one) and not field.auto_created
    }
    return any(
        hangs_on_a_model(other, seen | {table})
        for other in others - seen
        if isinstance(other, type) and issubclass(other, models.Model)
    )


def test_every_table_that_hangs_on_a_model_leaves_out_what_is_hidden() -> None:
    tables: list[Any] = [table for table in ours() if hangs_on_a_model(table)]
    assert len(tables) > 20
    unguarded = [
        f"{table._meta.label}.{manager.name}"
        for table in [*tables, Job]
        for manager in table._meta.managers
        if not isinstance(manager, SightManager)
    ]
    assert unguarded == [], "give them a SightManager and say what restricts them"


def test_every_kind_of_job_says_what_restricts_it() -> None:
    assert [kind.name for kind in kinds() if not kind.restricted_by] == []


def test_no_query_is_made_when_a_file_is_imported() -> None:
    """It would be made with nobody's eyes, and serve everybody."""
    guarded, early = {table.__name__ for table in ours() if hangs_on_a_model(table)} | {"Job"}, []
    for path in BASE.rglob("*.py"):
        inside = set()
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                inside |= set(ast.walk(node))
        for node in set(ast.walk(tree)) - inside:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                table = getattr(node.value.value, "id", "")
                if table in guarded and node.value.attr == "objects" and node.attr != "none":
                    early.append(f"{path.relative_to(BASE)}:{node.lineno}")
    assert early == []


def test_no_rows_are_asked_for_without_a_query(django_assert_num_queries: Any) -> None:
    """Files with forms are imported within the first request, whoever's it is."""
    with seen_by(AnonymousUser()), django_assert_num_queries(0):
        assert list(LanguageModel.objects.none()) == []


SHARED = {
    **dict.fromkeys(
        (
            "accounts:invitation_withdraw",
            "accounts:person",
            "accounts:person_disconnect",
            "accounts:person_reset",
            "accounts:person_roles",
            "accounts:person_second_factor",
            "accounts:person_sessions",
            "accounts:person_state",
            "accounts:welcome",
            "datasets:upload_piece",
        ),
        "people, links, and files on their way, which are their owner's",
    ),
    **dict.fromkeys(
        (
            "datasets:held_out_set",
            "datasets:prompt_set",
            "evaluations:benchmark",
            "evaluations:benchmark_delete",
            "evaluations:rule_edit",
        ),
        "what measures every model",
    ),
}
"""Routes to one object that hangs on no language model, and what it is."""


def is_for_administrators(name: str) -> bool:
    return READS.get(name, ADMIN) == WRITES.get(name, ADMIN) == ADMIN


def owner(row: models.Model) -> LanguageModel | None:
    """The language model that a row hangs on, found without what is tested here."""
    if isinstance(row, LanguageModel):
        return row
    names = [field.name for field in row._meta.get_fields() if field.many_to_one]
    if isinstance(row, Job):
        names = ["run", "batch", "blend", "learnability", "evaluation", "generation_set"]
        names += ["export", "trial_answer"]
    names += [field.name for field in row._meta.get_fields() if field.one_to_one and field.concrete]
    for name in names:
        other = getattr(row, name, None)
        if isinstance(other, models.Model) and (model := owner(other)):
            return model
    return None


@pytest.fixture
def outsider(cast: SimpleNamespace) -> User:
    """Somebody who may do everything but administer."""
    return User.objects.create(
        username="olga", is_trainer=True, is_reviewer=True, is_releaser=True, first_name="Olga"
    )


@pytest.fixture
def opened(language_model: LanguageModel, cast: SimpleNamespace) -> SimpleNamespace:
    """A model that everybody sees: a batch, a measured candidate."""
    batch = batch_make(language_model, "Talks", count=24)
    child = checkpoint_make(language_model, "Child", language_model.pretrained, run_by=cast.tina)
    measured_make(child)
    reviewed_make(child)
    return SimpleNamespace(model=language_model, batch=batch, child=child)


@pytest.mark.slow
def test_every_address_of_a_hidden_thing_is_not_there(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    hidden = hidden_world_make(cast)
    restrict(hidden, cast.tina)
    client, wrong = client_of(outsider), []
    for name, pattern in routes():
        if not pattern.pattern.converters or name in SHARED:
            continue
        rows = [row for row in rows_of(name) if owner(row) == hidden]
        assert rows, f"{name}: say what it is in SHARED, or make one in the hidden world"
        for row in rows:
            for method in ("get", "post"):
                with transaction.atomic():
                    answer = getattr(client, method)(address(name, row))
                    transaction.set_rollback(True)
                refused = {404, 405} | ({403} if is_for_administrators(name) else set())
                if answer.status_code not in refused:
                    wrong.append(f"{method} {name} {row.pk}: {answer.status_code}")
    assert wrong == []


@pytest.mark.slow
def test_who_is_named_and_administrators_have_these_addresses(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    hidden = hidden_world_make(cast)
    restrict(hidden, outsider)
    for person in (outsider, cast.ada):
        client = client_of(person)
        for name in ("checkpoints:checkpoint", "runs:run", "mixtures:mixture", "jobs:progress"):
            keys = [row.pk for row in OBJECTS[name].all() if owner(row) == hidden]
            for key in keys:
                assert client.get(reverse(name, args=[key])).status_code == 200, (name, key)
        assert WORD in client.get("/checkpoints/").content.decode()
        assert WORD in client.get("/").content.decode()


VOLATILE = re.compile(
    rb'<time.*?</time>|[Nn]once"?(:|=| content=)"[^"]*"|csrfmiddlewaretoken" value="[^"]*"'
    rb'|X-CSRFToken": "[^"]*"|chart-[0-9a-f]{12}|p\d{4,}|[\d.,]+\S{1,9}B are free'
)
"""What differs between two answers to the same question."""


def content_of(answer: Any) -> bytes:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return b"%d %s" % (answer.status_code, VOLATILE.sub(b"", content))


def open_addresses() -> list[str]:
    """Every page and panel there is, of every object there is."""
    addresses = []
    for name, pattern in routes():
        if not pattern.pattern.converters:
            addresses.append(reverse(name))
        elif name not in ARGUMENTS:
            addresses += [address(name, row) for row in rows_of(name)]
    return addresses


@pytest.mark.slow
def test_pages_are_as_if_the_hidden_world_were_not(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    """Names, counts, badges, choices, charts: no byte of any page hangs on what is hidden."""
    client, addresses = client_of(outsider), open_addresses()
    assert len(addresses) > 80
    before = {address: content_of(client.get(address)) for address in addresses}
    restrict(hidden_world_make(cast), cast.tina)
    after = {address: content_of(client.get(address)) for address in addresses}
    assert [address for address in addresses if after[address] != before[address]] == []
    assert all(WORD.encode() not in page for page in before.values())


QUESTIONS = {
    "checkpoints:checkpoints": ("model",),
    "dashboard:compare": ("run",),
    "dashboard:lineage": ("model", "line"),
    "datasets:batch_new": ("mends",),
    "evaluations:evaluations": ("checkpoint",),
    "mixtures:mixture_new": ("of", "model"),
    "promotions:ledger": ("model",),
    "promotions:promotions": ("model",),
    "runs:run_new": ("parent", "mixture"),
    "runs:runs": ("parent",),
}
"""Routes whose address may name something of a model, by which parameters."""
FORMS: dict[str, tuple[str, ...]] = {
    "datasets:batch_new": ("language_model",),
    "mixtures:mixture_new": ("of", "model"),
    "promotions:rollback": ("model",),
    "runs:run_mixture": ("parent", "mixture"),
    "runs:run_new": ("parent", "mixture"),
    "runs:run_preview": ("parent", "mixture"),
}
"""Forms that name something of a model, by which fields."""
FORMS_OF_OTHERS = {
    *("accounts:account", "accounts:account_password", "accounts:account_sessions"),
    *("accounts:account_dates", "accounts:openid_connect", "accounts:openid_disconnect"),
    *("accounts:recovery_codes", "accounts:second_factor", "accounts:second_factor_ask"),
    *("accounts:second_factor_remove", "reviews:policy"),
    *("accounts:invite", "accounts:login", "accounts:logout", "checkpoints:model_new"),
    *("datasets:held_out_set_new", "datasets:look", "datasets:prompt_set_new"),
    *("datasets:upload_new", "evaluations:benchmark_new", "evaluations:suite_new"),
}
"""Forms that name nothing of a model."""


def names_of(hidden: LanguageModel) -> dict[str, list[str]]:
    """By parameter: what in the hidden world it could name."""
    checkpoints = list(hidden.checkpoints.values_list("pk", "name"))
    keys, names = [str(pk) for pk, _ in checkpoints], [name for _, name in checkpoints]
    mixtures = [str(one.pk) for one in Mixture.objects.filter(language_model=hidden)]
    return {
        "checkpoint": names,
        "language_model": [str(hidden.pk)],
        "line": keys,
        "mends": [str(one.pk) for one in Batch.objects.filter(language_model=hidden)],
        "mixture": mixtures,
        "model": [hidden.name, str(hidden.pk)],
        "of": mixtures,
        "parent": [*keys, *names],
        "run": [str(one.pk) for one in Run.objects.filter(parent__language_model=hidden)],
    }


@pytest.mark.slow
def test_naming_a_hidden_thing_is_as_naming_nothing(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    hidden = hidden_world_make(cast)
    restrict(hidden, cast.tina)
    client, wrong = client_of(outsider), []

    def answer(method: str, name: str, parameter: str, value: str, words: set[str]) -> bytes:
        with transaction.atomic():
            answered = getattr(client, method)(reverse(name), {parameter: value})
            transaction.set_rollback(True)
        named = "|".join(re.escape(one) for one in words | set(map(quote_plus, words)))
        return re.sub(f"(?<!\\w)({named})(?!\\w)".encode(), b"_", content_of(answered))

    for method, asked in (("get", QUESTIONS), ("post", FORMS)):
        for name, parameters in asked.items():
            for parameter in parameters:
                for value in names_of(hidden)[parameter]:
                    nothing = "987654" if value.isdigit() else "Nothing"
                    answers = {
                        answer(method, name, parameter, one, {value, nothing})
                        for one in (value, nothing)
                    }
                    if len(answers) > 1:
                        wrong.append(f"{method} {name} {parameter}={value}")
    assert wrong == []


def test_every_form_is_asked() -> None:
    forms = {name for name, pattern in routes() if not pattern.pattern.converters} & WRITES.keys()
    assert forms == FORMS.keys() | FORMS_OF_OTHERS, "say which fields of it name what"


def test_an_open_batch_is_not_scored_under_a_hidden_checkpoint(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    hidden = hidden_world_make(cast)
    restrict(hidden, cast.tina)
    score = reverse("learnability:score", args=[opened.batch.pk])
    data = {"checkpoint": hidden.pretrained.pk, "dtype": "float32"}
    assert client_of(outsider).post(score, data).status_code == 404


def test_names_that_are_taken_say_no_more(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace
) -> None:
    restrict(hidden_world_make(cast), cast.tina)
    with seen_by(outsider):
        assert name_free(f"{WORD} waits") == f"{WORD} waits 2"
        with pytest.raises(MixtureError, match="is taken"):
            mixture_make(
                name=f"{WORD} mixture",
                language_model=opened.model,
                parts=[(opened.batch, "new", 1.0)],
            )


def test_a_queue_counts_what_is_hidden_and_does_not_name_it(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace
) -> None:
    restrict(hidden_world_make(cast), cast.tina)
    own = Job.objects.create(kind="train", queue="train", title="Mine", created_by=outsider)
    for person, words in ((outsider, "another job"), (cast.tina, f"“evaluate of {WORD}”")):
        with seen_by(person):
            assert Queues().running_title(own) == words
            assert Queues().position(own) == 2


def test_what_is_streamed_is_read_with_the_same_eyes(rf: Any, outsider: User) -> None:
    """The server asks for the lines when the request has been left."""
    restrict(LanguageModel.objects.create(name="Hidden", source="made", parameter_count=1))

    def view(request: Any) -> Any:
        def lines() -> Iterator[str]:
            yield from (str(one) for one in LanguageModel.objects.all())

        return StreamingHttpResponse(lines())

    for person, words in ((outsider, b""), (User(username="a", is_superuser=True), b"Hidden")):
        request = rf.get("/")
        request.user = person
        answer: Any = SightMiddleware(view)(request)
        assert b"".join(answer.streaming_content) == words


def test_a_report_does_not_name_a_hidden_batch(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace
) -> None:
    restrict(hidden_world_make(cast), cast.tina)
    written = slice_name(f"{WORD} talks")
    with seen_by(cast.tina):
        assert names_shown([written]) == [written]
    with seen_by(outsider):
        masked, own = names_shown([written, slice_name(opened.batch)])
        assert WORD not in masked and own == slice_name(opened.batch)


def test_nobody_who_is_not_logged_in_sees_it(cast: SimpleNamespace, data_dir: Path) -> None:
    restrict(hidden_world_make(cast))
    with seen_by(AnonymousUser()):
        assert not LanguageModel.objects.exists() and not Checkpoint.objects.exists()


def test_an_administrator_says_who_sees_a_model(
    cast: SimpleNamespace, outsider: User, opened: SimpleNamespace, client_of: ClientOf
) -> None:
    url = reverse("checkpoints:model_people", args=[opened.model.pk])
    form = {"is_restricted": "yes", "people": [cast.tina.pk, cast.rob.pk]}
    assert client_of(outsider).post(url, form).status_code == 403
    page = client_of(cast.ada).post(url, form, follow=True).content.decode()
    assert "Tiny is seen by Rob, Tina and administrators." in page
    assert "Child" in client_of(cast.rob).get("/").content.decode()
    assert "Child" not in client_of(outsider).get("/").content.decode()
    row = AuditEntry.objects.get(action="model.people")
    assert (row.actor, row.target_name) == (cast.ada, "Tiny")
    assert (row.before, row.after) == ({"seen_by": "everybody"}, {"seen_by": ["rob", "tina"]})
    people = list(opened.model.people.all())
    model_people_set(language_model=opened.model, is_restricted=True, people=people)
    assert AuditEntry.objects.filter(action="model.people").count() == 1  # nothing was changed
    model_people_set(language_model=opened.model, is_restricted=True, people=[])
    assert AuditEntry.objects.latest("pk").after == {"seen_by": "administrators only"}
