"""Measurements whose every item is known, written as the engine writes them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ftportal.evaluations.models import Suite
from ftportal.evaluations.services import suite_create
from ftportal.jobs.models import Job, JobState

SETTINGS = {"dtype": "float32", "device": "cpu", "attention": "sdpa", "batch_size": 8}
DOCUMENTS = ("The first held-out document. ", "The second one. ", "And a third. ", "The last. ")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample_lines(outcomes: Mapping[str, str]) -> list[dict[str, Any]]:
    """{"local_code": "1101"}: a line an item, 1 is right; the same place is the same item."""
    return [
        {
            "benchmark": benchmark,
            "doc_hash": digest(f"{benchmark} item {place}"),
            "prompt_hash": digest(f"{benchmark} prompt {place}"),
            "target_hash": digest(f"{benchmark} target {place}"),
            "correct": int(mark),
            "margin_nats": 1.5 if mark == "1" else -0.5,
            "question": f"{benchmark} question {place}?",
            "target": f"right {place}",
            "answer": f"right {place}" if mark == "1" else f"wrong {place}",
            "cluster": None,
        }
        for benchmark, marks in outcomes.items()
        for place, mark in enumerate(marks)
    ]


def document_lines(key: str, nll_nats: float) -> list[dict[str, Any]]:
    """Four documents of ten tokens; each a little different, so that there is a spread."""
    return [
        {
            "held_out_key": key,
            "doc_hash": digest(text.strip()),
            "nll_nats": 10 * nll_nats + 0.01 * place,
            "tokens": 10,
            "bytes": 40,
        }
        for place, text in enumerate(DOCUMENTS)
    ]


def output_write(
    job: Job, samples: list[dict[str, Any]], documents: list[dict[str, Any]], **settings: Any
) -> None:
    """What the engine leaves, and the job ended well."""
    Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED, fence=1)
    job.refresh_from_db()
    output = job.output_directory
    output.mkdir(parents=True)
    benchmarks = {line["benchmark"] for line in samples}
    scores = [
        {
            "benchmark": name,
            "metric": "acc",
            "value": 0.5,
            "stderr": 0.1,
            "n": 4,
            "higher_is_better": True,
            "unit": "share",
        }
        for name in sorted(benchmarks)
    ]
    (output / "scores.json").write_text(json.dumps({"scores": scores}))
    (output / "settings.json").write_text(json.dumps(SETTINGS | settings))
    for name, lines in (("samples", samples), ("documents", documents)):
        (output / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


KNOWN_BEFORE = "1" * 600 + "0" * 400
KNOWN_AFTER = "0" * 25 + "1" * 575 + "1" * 10 + "0" * 390
"""Against KNOWN_BEFORE: 25 lost, 10 gained of 1,000; theory's own example."""


def copy_of(suite: Suite, **changes: Any) -> Suite:
    """A suite with the same content, but for the changes."""
    fields = {
        "name": "Copy",
        "description": "",
        "benchmarks": suite.benchmarks,
        "held_out_sets": list(suite.held_out_sets.all()),
        "settings": suite.settings,
        "rule": suite.rule,
    }
    return suite_create(**fields | changes)
