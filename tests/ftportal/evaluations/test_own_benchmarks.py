"""One's own benchmarks: upload, refusal by line, in a suite, to the engine; and the suite form."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.models import OwnBenchmark, Suite
from ftportal.evaluations.selectors import benchmark_titles, judged_benchmarks
from ftportal.evaluations.services import (
    EvaluationError,
    evaluation_request,
    own_benchmark_delete,
    own_benchmark_upload,
    suite_create,
)
from tests.ftportal.evaluations.known import copy_of

GOOD = [
    {"question": "The sky is", "choices": ["blue", "green"], "answer": "blue", "cluster": "s"},
    {"question": "Grass is", "choices": ["blue", "green"], "answer": 1, "cluster": "s"},
]


def file_of(records: list[Any], name: str = "items.jsonl") -> SimpleUploadedFile:
    text = "".join(json.dumps(record) + "\n" for record in records)
    return SimpleUploadedFile(name, text.encode())


@pytest.fixture
def colours(db: None, data_dir: Any) -> OwnBenchmark:
    """Two items that share a source."""
    return own_benchmark_upload(
        uploaded_by=None, name="Colours: a test", description="", file=file_of(GOOD)
    )


def test_an_upload_keeps_its_items_under_a_name_with_their_hash(colours: OwnBenchmark) -> None:
    assert colours.key == f"own_colours_a_test_{colours.content_hash[:12]}"
    assert (colours.kind, colours.item_count, colours.cluster_count) == ("choices", 2, 1)
    assert colours.path.read_text().count("\n") == 2
    assert benchmark_titles()[colours.key] == "Colours: a test"


def test_the_same_items_or_name_again_are_refused(colours: OwnBenchmark) -> None:
    upload: dict[str, Any] = {"uploaded_by": None, "description": ""}
    with pytest.raises(EvaluationError, match="there already, as Colours"):
        own_benchmark_upload(name="Other", file=file_of(GOOD), **upload)
    with pytest.raises(EvaluationError, match="Choose another name"):
        own_benchmark_upload(name="Colours: a test", file=file_of(GOOD[:1]), **upload)
    assert OwnBenchmark.objects.count() == 1


def test_a_suite_asks_for_it_and_the_engine_gets_its_file(
    suite: Suite, colours: OwnBenchmark, bare_model: Any, settings: Any
) -> None:
    settings.FTPORTAL_HUB = True
    made = copy_of(suite, benchmarks=[{"name": colours.key, "source": "own", "limit": None}])
    assert made.item_count == 2
    job = evaluation_request(checkpoint=bare_model.pretrained, suite=made, created_by=None).job
    config = engine_config(job)
    assert config["benchmarks"] == [
        {
            "name": colours.key,
            "source": "own",
            "limit": None,
            "path": str(colours.path),
            "content_hash": colours.content_hash,
        }
    ]
    assert config["hub"] is True and config["allow_code_execution"] is False
    assert config["datasets_folder"] == str(settings.FTPORTAL_BENCHMARK_DATA)
    assert judged_benchmarks()[colours.key] == "Colours: a test"
    with pytest.raises(EvaluationError, match="asked for by Copy"):
        own_benchmark_delete(benchmark=colours)


def test_one_that_no_suite_asks_for_can_go(
    colours: OwnBenchmark, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        own_benchmark_delete(benchmark=colours)
    assert not colours.path.exists() and not OwnBenchmark.objects.exists()


@pytest.mark.parametrize(
    ("benchmarks", "message"),
    [
        ([], "measures nothing"),
        ([{"name": "humaneval", "source": "lm_eval"}], "runs code"),
        ([{"name": "piqa", "source": "lm_eval"}, {"name": "piqa", "source": "lm_eval"}], "twice"),
        ([{"name": "own_gone_123", "source": "own"}], "no benchmark called own_gone_123"),
    ],
)
def test_suites_that_cannot_be_are_refused(
    suite: Suite, benchmarks: list[Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        copy_of(suite, benchmarks=benchmarks, held_out_sets=[])


def test_standard_tasks_and_unknown_ones_are_taken_by_name(suite: Suite) -> None:
    tasks = [
        {"name": "piqa", "source": "lm_eval", "limit": 100},
        {"name": "mmlu", "source": "lm_eval"},
        {"name": "triviaqa", "source": "lm_eval"},
    ]
    made = copy_of(suite, benchmarks=tasks)
    assert [one["item_count"] for one in made.benchmarks] == [100, 14_042, None]
    assert made.item_count == 14_142


@pytest.fixture
def upload_as(client_of: Callable[[Any], Client]) -> Callable[..., Any]:
    """`upload_as(user, records)`: the answer to the upload form."""

    def post(user: Any, records: list[Any]) -> Any:
        fields = {"name": "Colours", "description": "", "file": file_of(records)}
        return client_of(user).post(reverse("evaluations:benchmark_new"), fields)

    return post


def test_trainers_and_administrators_upload_and_others_do_not(
    cast: Any, data_dir: Any, upload_as: Any, client_of: Any
) -> None:
    for user in (cast.otto, cast.rob, cast.leo):
        assert upload_as(user, GOOD).status_code == 403
    answer = upload_as(cast.tina, GOOD)
    own = OwnBenchmark.objects.get()
    assert answer.status_code == 302 and own.uploaded_by == cast.tina
    page = client_of(cast.otto).get(reverse("evaluations:benchmark", args=[own.pk]))
    assert "Grass is" in page.content.decode()
    assert own.name in client_of(cast.otto).get(reverse("evaluations:benchmarks")).content.decode()
    delete = reverse("evaluations:benchmark_delete", args=[own.pk])
    assert client_of(cast.otto).post(delete).status_code == 403
    assert client_of(cast.ada).get(delete).status_code == 405
    assert client_of(cast.ada).post(delete).status_code == 302
    assert not OwnBenchmark.objects.exists()


def test_every_wrong_line_is_told_at_once(cast: Any, data_dir: Any, upload_as: Any) -> None:
    wrong = [*GOOD, {"question": "Why <b>?"}, GOOD[0], {"question": "x", "answer": "y"}]
    answer = upload_as(cast.tina, wrong)
    page = answer.content.decode()
    assert answer.status_code == 422 and "3 lines cannot be used" in page
    assert "It has no answer" in page and "The same item stands on line 1" in page
    assert not OwnBenchmark.objects.exists()


def suite_post(**changes: Any) -> dict[str, Any]:
    from ftportal.evaluations.models import VerdictRule
    from ftportal.evaluations.services.suites import SETTINGS

    rule = VerdictRule.objects.get()
    fields = {
        name: value for name, value in SETTINGS.items() if value is not None and value is not False
    }
    fields["batch_size"] = ""  # found by the engine
    return fields | {"name": "Mine", "rule": rule.pk, "use_local_code": "on"} | changes


def test_only_an_administrator_makes_suites(suite: Suite, cast: Any, client_of: Any) -> None:
    url = reverse("evaluations:suite_new")
    for user in (cast.otto, cast.tina, cast.leo):
        assert client_of(user).get(url).status_code == 403
        assert client_of(user).post(url, suite_post()).status_code == 403
    assert Suite.objects.count() == 1


def test_the_form_makes_a_suite_and_its_next_version(
    suite: Suite, colours: OwnBenchmark, cast: Any, client_of: Any
) -> None:
    client, url = client_of(cast.ada), reverse("evaluations:suite_new")
    fields = suite_post(
        tasks="triviaqa:50, boolq",
        **{
            f"use_{colours.key}": "on",
            "use_piqa": "on",
            "limit_piqa": "200",
            "held_out_sets": [suite.held_out_sets.get().pk],
        },
    )
    answer = client.post(url, fields)
    assert answer.status_code == 302, answer.content.decode()
    made = Suite.objects.get(name="Mine")
    assert [(one["name"], one["limit"]) for one in made.benchmarks] == [
        ("local_code", None),
        (colours.key, None),
        ("piqa", 200),
        ("triviaqa", 50),
        ("boolq", None),
    ]
    assert made.held_out_sets.count() == 1 and not made.is_default
    assert (made.settings["batch_size"], made.settings["dtype"]) == ("auto", "auto")
    page = client.get(f"{url}?from={made.pk}").content.decode()
    assert "Next version of Mine" in page and "triviaqa:50\nboolq" in page
    assert client.get(reverse("evaluations:suites")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride_tokens": 1024}, "less than the window"),
        ({"tasks": "piqa:many"}, "piqa:many: write a number"),
        ({"use_humaneval": "on"}, "runs code that the model wrote, which is switched off"),
        ({"limit_local_code": "100000"}, "less than or equal to"),
        ({"use_local_code": ""}, "measures nothing"),
        ({"template_arguments": '{"loud": true}'}, "are given to no template"),
        ({"chat_template": "on", "template_arguments": "loud"}, "This is not JSON"),
    ],
)
def test_the_form_says_where_a_suite_is_wrong(
    suite: Suite, cast: Any, client_of: Any, changes: dict[str, Any], words: str
) -> None:
    answer = client_of(cast.ada).post(reverse("evaluations:suite_new"), suite_post(**changes))
    assert answer.status_code == 422 and words in answer.content.decode()
    assert Suite.objects.count() == 1


def test_an_administrator_may_allow_code(suite: Suite, cast: Any, client_of: Any) -> None:
    fields = suite_post(use_humaneval="on", allow_code_execution="on")
    assert client_of(cast.ada).post(reverse("evaluations:suite_new"), fields).status_code == 302
    assert Suite.objects.get(name="Mine").settings["allow_code_execution"] is True


def test_a_suite_says_how_its_benchmarks_are_asked(suite: Suite, cast: Any, client_of: Any) -> None:
    """New suites ask by chat where nobody says otherwise; those that do not are as they were."""
    client, url = client_of(cast.ada), reverse("evaluations:suite_new")
    ticked = re.compile(r'<input[^>]*id="id_chat_template"[^>]* checked')
    assert ticked.search(client.get(url).content.decode())
    plain, chat = suite_post(name="Plain"), suite_post(name="Chat", chat_template="on")
    chat["template_arguments"] = '{"enable_thinking": false}'
    for fields in (plain, chat):
        assert client.post(url, fields).status_code == 302
    made, asked = Suite.objects.get(name="Plain"), Suite.objects.get(name="Chat")
    assert not made.settings.keys() & {"chat_template", "template_arguments"}
    assert made.content_hash != asked.content_hash
    shown = {"chat_template": True, "template_arguments": {"enable_thinking": False}}
    assert asked.settings == made.settings | shown
    page = client.get(reverse("evaluations:suites")).content.decode()
    assert "through the model's chat template, with <code>enable_thinking=false</code>" in page
    assert not ticked.search(client.get(f"{url}?from={made.pk}").content.decode())


def test_suites_made_before_a_setting_existed_are_still_shown(rule: Any, held_out: Any) -> None:
    made = suite_create(
        name="Old",
        description="",
        benchmarks=[],
        held_out_sets=[held_out],
        settings={},
        rule=rule,
    )
    del made.settings["allow_code_execution"], made.settings["kl_tokens"]
    made.save()
    from ftportal.evaluations.benchmark_forms import suite_initial

    assert suite_initial(made)["kl_tokens"] == 512
