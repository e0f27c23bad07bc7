"""Lists cost the same number of queries however many rows they show."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ftportal.checkpoints.models import LanguageModel
from ftportal.jobs.models import Job
from tests.ftportal.house import checkpoint_make, evaluation_make, model_make, verdict_make

PLACES = ("/", "/jobs/", "/runs/", "/checkpoints/", "/evaluations/", "/lineage/")


def _grow(model: LanguageModel, trainer: Any, numbers: range) -> None:
    """Sessions with everything that lists show of them, and a waiting job for each."""
    for number in numbers:
        made = checkpoint_make(model, f"Session {number}", model.pretrained, run_by=trainer)
        evaluation_make(made)
        verdict_make(made, model.pretrained)
        Job.objects.create(kind="train", queue="train", title=f"Train {number}")


def _query_counts(client: Client) -> dict[str, int]:
    result = {}
    for place in PLACES:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(place).status_code == 200
        result[place] = len(queries)
    return result


def test_no_list_queries_by_row(
    client_of: Callable[[Any], Client], cast: SimpleNamespace, data_dir: Path
) -> None:
    model, client = model_make(), client_of(cast.tina)
    _grow(model, cast.tina, range(2))
    _query_counts(client)  # whatever is remembered from the first request on
    few = _query_counts(client)
    _grow(model, cast.tina, range(2, 10))
    assert _query_counts(client) == few
