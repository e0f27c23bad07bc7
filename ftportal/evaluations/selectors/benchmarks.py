"""Benchmarks that a suite may ask for, and the names that people read."""

import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evaluation.suites import local_benchmarks
from evaluation.suites.standard import STANDARD_TASKS
from ftportal.evaluations.models import OwnBenchmark, Suite


@dataclass(frozen=True, kw_only=True)
class KnownBenchmark:
    """One benchmark as forms and pages show it."""

    source: str
    """local, own or lm_eval."""
    name: str
    """As measurements name it."""
    title: str
    description: str
    item_count: int
    content_hash: str = ""
    """Empty for lm-eval's own, whose data this portal does not keep."""
    data: str = ""
    """The hub's id of its data, where they are not kept here."""
    runs_code: bool = False


def known_benchmarks() -> dict[str, KnownBenchmark]:
    """All that have a title, by name: local ones, uploaded ones, then lm-eval's best known."""
    local = [
        KnownBenchmark(
            source="local",
            name=one.name,
            title=one.title,
            description=one.description,
            item_count=one.item_count,
            content_hash=one.content_hash,
        )
        for one in local_benchmarks()
    ]
    own = [
        KnownBenchmark(
            source="own",
            name=one.key,
            title=one.name,
            description=one.description,
            item_count=one.item_count,
            content_hash=one.content_hash,
        )
        for one in OwnBenchmark.objects.all()
    ]
    standard = [
        KnownBenchmark(
            source="lm_eval",
            name=one.name,
            title=one.title,
            description=one.description,
            item_count=one.item_count,
            data=one.data,
            runs_code=one.runs_code,
        )
        for one in STANDARD_TASKS
    ]
    return {one.name: one for one in (*local, *own, *standard)}


def benchmark_titles() -> dict[str, str]:
    """The names that people read, by the names of benchmarks."""
    return {name: one.title for name, one in known_benchmarks().items()}


def judged_benchmarks() -> dict[str, str]:
    """Titles of all benchmarks that suites ask for, local ones first: each may have a margin."""
    titles = benchmark_titles()
    by_name = {one.name: one.title for one in local_benchmarks()}
    for suite in Suite.objects.all():
        by_name |= {one["name"]: titles.get(one["name"], one["name"]) for one in suite.benchmarks}
    return by_name


def own_benchmark_items(benchmark: OwnBenchmark, start: int, stop: int) -> list[dict[str, Any]]:
    """Items start..stop-1 as their file holds them; none where it is gone."""
    try:
        with benchmark.path.open(encoding="utf-8") as stream:
            return [json.loads(line) for line in islice(stream, start, stop)]
    except OSError:
        return []
