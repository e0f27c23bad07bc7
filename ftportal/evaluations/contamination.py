"""Items of benchmarks for the floor of the batches, which are held against them."""

import json
from collections.abc import Iterator

from evaluation.suites import local_benchmarks, local_items
from ftportal.evaluations.models import OwnBenchmark


def benchmark_texts() -> Iterator[tuple[str, str]]:
    """(name, question) of every item of the local benchmarks and of people's own."""
    for benchmark in local_benchmarks():
        for item in local_items(benchmark.name):
            yield f"Benchmark {benchmark.title}", item["question"]
    for own in OwnBenchmark.objects.all():
        if own.path.is_file():
            with own.path.open(encoding="utf-8") as file:
                for line in file:
                    yield f"Benchmark {own}", json.loads(line)["question"]
