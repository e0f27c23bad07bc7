"""One click adds general examples, or what earlier sessions of the lineage learned."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.runs.models import Run
from ftportal.runs.suggestions import general_suggest, replay_suggest

pytestmark = pytest.mark.django_db


def test_a_quarter_becomes_general(parent: Checkpoint, talks: Batch, general: Batch) -> None:
    result = general_suggest(parent, {talks.pk: 3.0})
    assert result.weights == {general.pk: pytest.approx(1.0)}
    raised = general_suggest(parent, {talks.pk: 3.0, general.pk: 0.1})
    assert raised.weights == {general.pk: pytest.approx(1.0)}
    assert "First give" in general_suggest(parent, {}).message


def test_without_a_general_batch_it_says_what_to_do(parent: Checkpoint, talks: Batch) -> None:
    result = general_suggest(parent, {talks.pk: 1.0})
    assert result.weights == {}
    assert "upload one" in result.message


def test_a_fifth_becomes_what_the_lineage_learned(
    submit: Callable[..., Run], parent: Checkpoint, batch_of: Callable[..., Batch]
) -> None:
    old, new = batch_of("Old"), batch_of("New")
    run = submit("Earlier", mixture=[(old, 1.0)])
    run.output = Checkpoint.objects.create(
        language_model=parent.language_model,
        parent=parent,
        name="Child",
        path="checkpoints/child",
        manifest_hash="c" * 64,
        size_bytes=1,
    )
    run.save()
    assert replay_suggest(run.output, {new.pk: 4.0}).weights == {old.pk: pytest.approx(1.0)}
    assert "already" in replay_suggest(run.output, {new.pk: 4.0, old.pk: 1.0}).message
    assert "Nothing was learnt" in replay_suggest(parent, {new.pk: 4.0}).message


def test_the_button_sets_the_weights(
    client_of: Callable[..., Client],
    cast: SimpleNamespace,
    parent: Checkpoint,
    talks: Batch,
    general: Batch,
) -> None:
    form: dict[str, Any] = {"parent": parent.pk, f"weight_{talks.pk}": "3", "add": "general"}
    address = reverse("runs:run_mixture")
    response = client_of(cast.tina).post(address, form)
    page = response.content.decode()
    assert f'id="id_weight_{general.pk}" value="1"' in page
    assert "25 % of the examples are general now" in page
    assert response["HX-Trigger-After-Settle"] == "mixture-changed"
    assert client_of(cast.tina).get(address).status_code == 405
    assert client_of(cast.otto).post(address, form).status_code == 403
    assert Client().post(address, form).status_code == 302
