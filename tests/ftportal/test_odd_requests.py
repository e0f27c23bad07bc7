"""Numbers no database holds and characters no field takes: an answer, never an internal error."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from tests.ftportal.house import checkpoint_make, model_make

HUGE = "9" * 30
ENDLESS = "9" * 5000


@pytest.mark.parametrize(
    "address",
    [
        f"/runs/{HUGE}/",
        f"/batches/{HUGE}/",
        f"/checkpoints/{HUGE}/",
        f"/evaluations/{HUGE}/",
        f"/verdicts/{HUGE}/",
        f"/reviews/{HUGE}/",
        f"/lineage/?line={HUGE}",
        f"/lineage/?line={ENDLESS}",
        f"/compare/?run={HUGE}&run={ENDLESS}",
        f"/runs/new/?parent={HUGE}&batch={ENDLESS}&learning_rate=%00",
        f"/runs/?page={ENDLESS}&sort=%00&text=%00",
        "/checkpoints/?text=%00&model=%00",
        "/evaluations/?checkpoint=%00&suite=%00",
        "/jobs/?text=%00&kind=%00",
        "/promotions/?model=%00",
    ],
)
def test_odd_addresses_are_answered(
    client_of: Callable[[Any], Client], cast: SimpleNamespace, data_dir: Path, address: str
) -> None:
    model_make()
    allowed = (400,) if "%00" in address else (200, 404)
    assert client_of(cast.tina).get(address).status_code in allowed


def test_odd_forms_are_answered(
    client_of: Callable[[Any], Client], cast: SimpleNamespace, data_dir: Path
) -> None:
    model = model_make()
    made = checkpoint_make(model, "Session", model.pretrained, run_by=cast.tina)
    leo, tina = client_of(cast.leo), client_of(cast.tina)
    promoted = leo.post(f"/promotions/promote/{made.pk}/", {"reason": "so\0so"})
    assert promoted.status_code == 400
    assert "a character that no text has" in promoted.content.decode()
    rolled = leo.post("/promotions/rollback/", {"model": "a\0", "to": "b\0", "reason": "\0"})
    assert rolled.status_code == 400
    for suite in (HUGE, ENDLESS):
        asked = tina.post(f"/evaluations/of/{made.pk}/measure/", {"suite": suite})
        assert asked.status_code == 404


def test_digits_without_end_are_an_error_on_their_field(
    client_of: Callable[[Any], Client], cast: SimpleNamespace, language_model: Any
) -> None:
    from ftportal.runs.forms import RunForm

    fields = dict.fromkeys(RunForm.base_fields, ENDLESS) | {
        "name": "Session",
        "method": "apollo",
        "parent": str(language_model.pretrained.pk),
    }
    page = client_of(cast.tina).post("/runs/new/", fields)
    assert page.status_code == 422
    errors = page.context["form"].errors
    assert {"epochs", "seed", "learning_rate", "processes"} <= errors.keys()
