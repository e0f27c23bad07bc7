"""Things done at once, by threads on a database in a file, as the workers of a web server do."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connection


def database_to_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the test database to a file, which new connections, those of threads, open instead."""
    connection.ensure_connection()
    with closing(sqlite3.connect(path)) as copy:
        connection.connection.backup(copy)
    monkeypatch.setitem(connection.settings_dict, "NAME", str(path))


def in_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns in a thread with a database connection of its own."""
    return at_once([work])[0]


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of `works` returns, in their order; they begin together."""
    barrier = threading.Barrier(len(works))

    def go(work: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(go, works))
