"""A portal in a folder of its own, for what a second session's measurement costs.

It has the portal's own services, database and supervisor; only the messages are missing, so what
is queued is done here, one after the other.
"""

import os
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluation_sides import BATCH_SIZE, benchmarks_of


@dataclass(frozen=True, kw_only=True)
class SessionCost:
    """What measuring and judging one candidate took."""

    seconds: float
    """From asking for it to the verdict."""
    cpu_seconds: float
    """Of the engines."""
    measured: int
    """Models that had to be measured."""
    outcome: str
    """The verdict's."""


class Portal:
    """The base model and two candidates trained from it, nothing measured yet."""

    def __init__(self, folder: Path, model: Path, candidates: list[Path], threads: int) -> None:
        """The candidates' directories are moved into the portal's folder."""
        django_start(folder, threads)
        from ftportal.checkpoints.services import checkpoint_register, language_model_register

        self._anchor = language_model_register(
            name="Base", source="the benchmark", note="", licence="Apache-2.0", directory=model
        ).pretrained
        self._candidates = [
            checkpoint_register(
                parent=self._anchor, name=path.name, directory=path, displacement_pretrained=None
            )
            for path in candidates
        ]

    def candidate_directory(self, number: int) -> Path:
        """Where a candidate's files are now."""
        return self._candidates[number].directory

    def suite(self, limit: int | None, seed: int) -> Any:
        """A suite by which nothing was measured before: another seed is another suite."""
        from evaluation.judging.rule import Rule
        from ftportal.evaluations.services import suite_create, verdict_rule_create

        return suite_create(
            name="Local suite",
            description="As the lm_eval command line measures it.",
            benchmarks=[
                {"name": one.name, "source": one.source, "limit": one.limit}
                for one in benchmarks_of(limit)
            ],
            held_out_sets=[],
            settings={"batch_size": BATCH_SIZE, "seed": seed, "device": "cpu"},
            rule=verdict_rule_create(name="Default", rule=Rule()),
        )

    def session(self, suite: Any, number: int) -> SessionCost:
        """Have a candidate measured with all it is judged against, and wait for the verdict."""
        from ftportal.evaluations.selectors import latest_verdict
        from ftportal.evaluations.services import checkpoint_measure
        from ftportal.jobs.models import Job, JobState
        from ftportal.jobs.supervisor import job_run_now

        candidate = self._candidates[number]
        started, cpu = time.monotonic(), _children_cpu_seconds()
        checkpoint_measure(checkpoint=candidate, suite=suite, created_by=None)
        # A verdict also asks for answers to show to reviewers; they are not part of measuring.
        waiting = Job.objects.filter(state=JobState.QUEUED, kind="evaluate")
        queued = list(waiting.order_by("created_at"))
        for job in queued:
            done = job_run_now(job)
            if done.state != JobState.SUCCEEDED:
                raise SystemExit(f"{done.title} failed: {done.error_where}: {done.error_message}")
        verdict = latest_verdict(candidate, self._anchor, suite)
        if verdict is None:
            raise SystemExit(f"{candidate} was measured, but no verdict was reached")
        seconds = time.monotonic() - started
        return SessionCost(
            seconds=seconds,
            cpu_seconds=_children_cpu_seconds() - cpu,
            measured=len(queued),
            outcome=verdict.outcome,
        )


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def django_start(folder: Path, threads: int) -> None:
    """Django with the portal's settings, an empty database in `folder`, and no Redis."""
    folder.mkdir()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "ftportal.settings",
        "FTPORTAL_SECRET_KEY": "for-the-benchmark-only",
        "FTPORTAL_DATA": str(folder),
        "FTPORTAL_REDIS_URL": "redis://127.0.0.1:1/0",  # nothing listens there
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    os.environ.pop("DATABASE_URL", None)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def candidate_write(model: Path, target: Path, seed: int, share: float = 0.01) -> Path:
    """A copy of a model, each matrix changed by noise of `share` of its own spread."""
    import torch
    from safetensors.torch import load_file, save_file

    from engine.manifest import MANIFEST_NAME, manifest_write

    ignored = shutil.ignore_patterns(MANIFEST_NAME, ".*", "*.safetensors")
    shutil.copytree(model, target, ignore=ignored)
    generator = torch.Generator().manual_seed(seed)
    for path in sorted(model.glob("*.safetensors")):
        tensors = load_file(path)
        for tensor in tensors.values():
            if tensor.dim() > 1:
                noise = torch.randn(tensor.shape, generator=generator) * tensor.float().std()
                tensor += (share * noise).to(tensor.dtype)
        save_file(tensors, target / path.name, metadata={"format": "pt"})
    manifest_write(target)
    return target
