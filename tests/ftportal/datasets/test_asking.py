"""How a model is asked: its template's arguments and its longest answer, from page to engine."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from ftportal.audit.models import AuditEntry
from ftportal.checkpoints.asking.services import model_asking_set
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import CheckpointError, language_model_register
from ftportal.datasets.models import ANSWER_TOKENS, Batch
from ftportal.datasets.services import batch_upload
from ftportal.datasets.uploads import UploadRefusedError
from ftportal.reviews.generation import asking_of
from ftportal.reviews.services import trial_ask
from ftportal.reviews.services.trials import trial_config
from tests.corpus.test_thinking import THINKS
from tests.ftportal.datasets.conftest import lines, talk

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
OFF = {"enable_thinking": False}


@pytest.fixture
def thinker(data_dir: Path, tiny_model_directory: Path, tmp_path: Path) -> LanguageModel:
    """A model whose template can be told not to think."""
    directory = tmp_path / "thinker"
    shutil.copytree(tiny_model_directory, directory)
    (directory / "chat_template.jinja").write_text(THINKS)
    return language_model_register(
        name="Thinker", source="made by the tests", note="", licence="", directory=directory
    )


def _file(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("talks.jsonl", content)


def url_of(model: LanguageModel) -> str:
    return reverse("checkpoints:model_asking", args=[model.pk])


def test_an_administrator_says_it_and_it_is_written_down(
    client_of: Any, cast: SimpleNamespace, thinker: LanguageModel
) -> None:
    client = client_of(cast.ada)
    assert "<code>enable_thinking</code>" in client.get(url_of(thinker)).content.decode()
    wanted = {"template_arguments": json.dumps(OFF), "answer_tokens": "4096"}
    page = client.post(url_of(thinker), wanted, follow=True).content.decode()
    assert "enable_thinking=false" in page
    assert "answers of up to 4,096 tokens" in page
    thinker.refresh_from_db()
    assert (thinker.template_arguments, thinker.answer_tokens) == (OFF, 4096)
    client.post(url_of(thinker), wanted)
    row = AuditEntry.objects.get(action="model.asking")  # nothing was changed the second time
    assert row.after == {"template_arguments": OFF, "answer_tokens": 4096}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"enable_thinkin": true}', "does not know enable_thinkin"),
        ("enable_thinking=false", "This is not JSON"),
        ("[1]", "is not an object"),
        ('{"enable_thinking": null}', "is not a plain value"),
        ('{"messages": "x"}', "comes with each conversation"),
        ('{"enable_thinking": NaN}', "is not a plain value"),
        ('{"enable_thinking": ' + "9" * 1500 + "}", "is not a plain value"),
        ("[" * 1900, "This is not JSON"),
        ("1" * 2001, "at most 2000 characters"),
    ],
)
def test_what_cannot_be_honoured_is_said_and_stays_in_the_form(
    client_of: Any, cast: SimpleNamespace, thinker: LanguageModel, written: str, said: str
) -> None:
    answer = client_of(cast.ada).post(url_of(thinker), {"template_arguments": written})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert written[:40].replace('"', "&quot;") in answer.content.decode()
    thinker.refresh_from_db()
    assert thinker.template_arguments == {}


def test_a_template_without_arguments_takes_none(language_model: LanguageModel) -> None:
    with pytest.raises(CheckpointError, match="does not know enable_thinking"):
        model_asking_set(language_model=language_model, template_arguments=OFF, answer_tokens=None)


def test_spot_checks_and_trials_ask_so(thinker: LanguageModel, cast: SimpleNamespace) -> None:
    assert asking_of(thinker, 64) == {"max_new_tokens": 64}
    model_asking_set(language_model=thinker, template_arguments=OFF, answer_tokens=2000)
    thinker.refresh_from_db()
    assert asking_of(thinker, 64) == {"max_new_tokens": 2000, "template_arguments": OFF}
    assert asking_of(thinker, 3000)["max_new_tokens"] == 3000
    trial = trial_ask(checkpoint=thinker.pretrained, prompt="Sum?", actor=cast.tina)
    config = trial_config(trial.answers.get())
    assert config["template_arguments"] == OFF
    assert config["max_new_tokens"] == 2000 > ANSWER_TOKENS


def upload(model: LanguageModel, cast: SimpleNamespace, name: str, **options: Any) -> Batch:
    return batch_upload(
        uploaded_by=cast.tina,
        language_model=model,
        name=name,
        kind="conversation",
        decision_rule="last",
        file=_file(lines([talk(1), talk(2) | {"chat_template_kwargs": OFF}])),
        options=options,
    )


def test_a_batch_is_read_so_and_says_it(
    read: Callable[[Batch], Batch], thinker: LanguageModel, cast: SimpleNamespace, client_of: Any
) -> None:
    """The record's own argument goes before the batch's, and that before the model's."""
    on = {"enable_thinking": True}

    def arguments_of(batch: Batch) -> list[Any]:
        text = read(batch).examples_path.read_text()
        return [json.loads(line).get("template_arguments") for line in text.splitlines()]

    assert arguments_of(upload(thinker, cast, "As it is")) == [None, OFF]
    model_asking_set(language_model=thinker, template_arguments=OFF, answer_tokens=None)
    thinker.refresh_from_db()
    batch = upload(thinker, cast, "The model's")
    assert arguments_of(batch) == [OFF, OFF]
    page = client_of(cast.tina).get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "<code>enable_thinking=false</code>" in page
    assert arguments_of(upload(thinker, cast, "Its own", template_arguments=on)) == [on, OFF]
    with pytest.raises(UploadRefusedError, match="does not know thinking"):
        upload(thinker, cast, "Misspelt", template_arguments={"thinking": True})


def test_the_upload_form_takes_them(
    client_of: Any, cast: SimpleNamespace, thinker: LanguageModel
) -> None:
    new = reverse("datasets:batch_new")

    def posted(written: str) -> Any:
        sent = {"kind": "conversation", "template_arguments": written}
        return client_of(cast.tina).post(new, sent | {"file": _file(lines([talk(1)]))})

    refused = posted('{"thinking": true}')
    assert refused.status_code == 422
    assert "It can be given enable_thinking." in refused.content.decode()
    assert "This is not JSON" in posted("thinking").content.decode()
    assert posted(json.dumps(OFF)).status_code == 302
    assert Batch.objects.get().options == {"template_arguments": OFF}


@pytest.mark.parametrize("ticked", [True, False], ids=["chosen", "not chosen"])
def test_answering_without_thinking_is_learnt_by_choice(
    read: Callable[[Batch], Batch],
    client_of: Any,
    cast: SimpleNamespace,
    thinker: LanguageModel,
    ticked: bool,
) -> None:
    """From the box in the form to the tokens on the batch's page."""
    client, new = client_of(cast.tina), reverse("datasets:batch_new")
    assert "Also learn to answer without thinking" in client.get(new).content.decode()
    sent = {"kind": "conversation", "file": _file(lines([talk(1), talk(2)]))}
    assert client.post(new, sent | ({"empty_reasoning": "on"} if ticked else {})).status_code == 302
    batch = read(Batch.objects.get())
    assert batch.options == ({"empty_reasoning": True} if ticked else {})
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    learnt = "".join(
        re.findall(r'<span class="tok-decision tok-reasoning">(.*?)</span>', page, re.DOTALL)
    )
    assert (learnt.split() == ["&lt;/think&gt;"] * 2) is ticked
    assert ("learns to close its thinking at once" in page) is ticked
    assert ("The empty reasoning is read and not learnt" in page) is not ticked


def test_a_choice_that_finds_nothing_to_learn_says_so(
    read: Callable[[Batch], Batch], client_of: Any, cast: SimpleNamespace, thinker: LanguageModel
) -> None:
    batch = read(upload(thinker, cast, "Off", empty_reasoning=True, template_arguments=OFF))
    page = client_of(cast.tina).get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "there is no empty reasoning to learn" in page
