"""Pages cost as many queries with a thousand runs as with ten, and no more than they need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.portal_world import World

LIST, RUN, COMPARE = 12, 60, 60


def _queries(client: Client, places: dict[str, int]) -> dict[str, int]:
    counts = {}
    for place in places:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(place).status_code == 200, place
        counts[place] = len(queries)
    return counts


def test_queries_do_not_grow_with_runs(
    client_of: Callable[[Any], Client], data_dir: Path, db: None
) -> None:
    world = World()
    runs = world.runs(10)
    for run in runs:
        world.measure(run, 3)
    places = {
        "/runs/": LIST,
        "/runs/?sort=-loss&page=1000000": LIST,
        "/runs/?sort=state&text=run&method=lora": LIST,
        f"/runs/{runs[0].pk}/": RUN,
        "/compare/?" + "&".join(f"run={run.pk}" for run in runs[:8]): COMPARE,
    }
    client = client_of(world.viewer)
    _queries(client, places)  # whatever is remembered from the first request on
    few = _queries(client, places)
    world.runs(990)
    assert _queries(client, places) == few
    assert {place: count for place, count in few.items() if count > places[place]} == {}
