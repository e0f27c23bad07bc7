"""How fast the portal answers with many runs and long curves.

Fills a throwaway portal, then asks it as a browser would: the time is the server's, from request to
the whole answer, without a network and without drawing. One JSON object a case:
`value` (the median), `must`, `unit`, `spread` (the fastest and the slowest), `times`.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import columns
from benchmarks.evaluation_portal import django_start
from benchmarks.machine import ROOT, machine_words
from benchmarks.portal_world import METRICS, World

RUNS, STEPS = 10_000, 110
"""Runs of the list, and steps of each; ten metrics a step."""
LONG_STEPS = 1_000_000
MANY_RUNS, MANY_STEPS = 100, 10_000
TIMES = 7
PAGE_MILLISECONDS, CURVE_MILLISECONDS, MANY_MILLISECONDS, POINT_BYTES = 100, 50, 1000, 12


def line_of(case: str, values: list[float], unit: str, must: float | None) -> dict[str, Any]:
    """One case: the median of what was measured beside what it must not exceed."""
    return {
        "case": case,
        "value": round(statistics.median(values), 2),
        "unit": unit,
        "must": must,
        "spread": [round(min(values), 2), round(max(values), 2)],
        "times": len(values),
    }


def timed(work: Callable[[], Any], times: int) -> list[float]:
    """Milliseconds of each of some runs, after one that does not count."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


class Bench:
    """A filled portal and a browser in it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        """Fill it; that takes minutes."""
        django_start(folder, 1)
        from django.test import Client

        self._folder, self._options = folder, options
        self._world = World()
        self._client = Client(headers={"host": "localhost"})
        self._client.force_login(
            self._world.viewer, backend="django.contrib.auth.backends.ModelBackend"
        )
        world, count = self._world, 0
        self._runs = world.runs(options.runs)
        self._many = world.runs(options.many)
        (self._long,) = world.runs(1)
        before, began = self._database_bytes(), time.monotonic()
        for run in self._runs:
            count += world.measure(run, options.steps)
        self._short = (count, self._database_bytes() - before)
        for run in self._many:
            count += world.measure(run, MANY_STEPS)
        count += world.measure(self._long, options.long, METRICS[:1])
        self.count, self.fill_seconds = count, time.monotonic() - began
        self._all = (count, self._database_bytes() - before)

    def _database_bytes(self) -> int:
        """What the database takes on disk, without what it has freed."""
        from django.db import connection

        with connection.cursor() as cursor:
            sizes = []
            for name in ("page_count", "freelist_count", "page_size"):
                cursor.execute(f"PRAGMA {name}")
                sizes.append(cursor.fetchone()[0])
        return (sizes[0] - sizes[1]) * sizes[2]

    def _get(self, address: str) -> None:
        response = self._client.get(address, secure=True)
        if response.status_code != 200:
            raise SystemExit(f"{address} answered {response.status_code}")

    def _page(
        self, case: str, address: str, must: float | None = PAGE_MILLISECONDS
    ) -> dict[str, Any]:
        return line_of(case, timed(lambda: self._get(address), self._options.times), "ms", must)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every case, one after the other."""
        yield from self._list_lines()
        long = self._long.pk
        address = f"/runs/{long}/metrics/?chart=loss"
        yield self._page(f"a curve of {self._options.long:,} points", address, CURVE_MILLISECONDS)
        yield self._page("the page of its run", f"/runs/{long}/", None)
        chosen = "&".join(f"run={run.pk}" for run in self._many[:8])
        yield line_of(
            f"comparing 8 runs of {MANY_STEPS:,} steps",
            timed(lambda: self._get(f"/compare/?{chosen}"), self._options.times),
            "ms",
            None,
        )
        yield from self._many_lines()
        for case, (points, size) in (("short curves", self._short), ("all curves", self._all)):
            yield line_of(f"a point, {case}", [size / points], "bytes", POINT_BYTES)
        yield from self._export_lines()

    def _list_lines(self) -> Iterator[dict[str, Any]]:
        from ftportal.runs.selectors import STATE_FILTERS

        pages = {"first": 1, "middle": len(self._runs) // 50, "last": 10**6}
        for sort in ("created", "name", "state", "parent", "method", "rate", "loss"):
            for sign, order in (("", "up"), ("-", "down")):
                for word, page in pages.items():
                    address = f"/runs/?sort={sign}{sort}&page={page}"
                    yield self._page(f"runs by {sort}, {order}, {word} page", address)
        filters = [f"state={state}" for state in STATE_FILTERS]
        filters += ["method=lora", "parent=Parent+7", "text=friday", "text=Run+77", "text=nowhere"]
        for one in filters:
            for word, page in (("first", 1), ("last", 10**6)):
                yield self._page(f"runs with {one}, {word} page", f"/runs/?{one}&page={page}")

    def _many_lines(self) -> Iterator[dict[str, Any]]:
        from ftportal.runs.metrics import metric_lines

        keys = [run.pk for run in self._many]
        for points in (300, 1000, 2000):
            times = timed(partial(metric_lines, keys, METRICS, points), 3)
            case = f"{len(METRICS)} metrics of {len(keys)} runs x {MANY_STEPS:,} steps"
            yield line_of(f"{case}, {points:,} points a line", times, "ms", MANY_MILLISECONDS)

    def _export_lines(self) -> Iterator[dict[str, Any]]:
        for case, run in ((f"{len(METRICS)} metrics", self._many[0]), ("one metric", self._long)):
            child = subprocess.run(
                [sys.executable, "-m", "benchmarks.portal_export", str(self._folder), str(run.pk)],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
            told = json.loads(child.stdout.splitlines()[-1])
            name = f"CSV of {told['lines']:,} points, {case}"
            yield line_of(name, [told["seconds"]], "s", None)
            yield line_of(f"{name}: its first line", [told["first_seconds"]], "s", None)
            for when, what in (("before", "before_bytes"), ("at most", "peak_bytes")):
                memory = told[what] / 2**20
                yield line_of(f"{name}: the process's memory {when}", [memory], "MiB", None)


def table(lines: list[dict[str, Any]]) -> str:
    """The cases for people."""
    rows = [("case", "median", "must", "fastest to slowest")]
    for one in lines:
        must = "" if one["must"] is None else f"{one['must']} {one['unit']}"
        spread = "{} to {}".format(*one["spread"])
        rows.append((one["case"], f"{one['value']} {one['unit']}", must, spread))
    return columns(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A portal with many runs and long curves.")
    parser.add_argument("--runs", type=int, default=RUNS, help="in the list")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each of them, of ten metrics")
    parser.add_argument("--many", type=int, default=MANY_RUNS, help="runs that are read at once")
    parser.add_argument("--long", type=int, default=LONG_STEPS, help="points of the long curve")
    parser.add_argument("--times", type=int, default=TIMES, help="that each page is asked for")
    return parser.parse_args()


def main() -> int:
    """Measure everything; 0 whatever the figures are."""
    options = _options()
    logging.disable(logging.WARNING)  # of Redis, which is not there on purpose
    machine = machine_words("django", "numpy", "zstandard")
    sys.stdout.write(f"# {machine}\n")
    sys.stdout.flush()
    lines = []
    with tempfile.TemporaryDirectory(prefix="bench-portal-") as scratch:
        bench = Bench(Path(scratch) / "data", options)
        words = f"{bench.count:,} points in {bench.fill_seconds:.0f} s"
        sys.stdout.write(f"# {options.runs + options.many + 1:,} runs, {words}\n")
        for line in bench.lines():
            lines.append(line)
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"# {machine}\n{table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
