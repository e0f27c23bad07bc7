"""A throwaway portal with as many runs and points as asked for: rows, no engine and no weights.

What a run measured goes the way of real runs, through the function that takes an engine's events.
All the rest is made in bulk.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

METRICS = (
    "loss_nats",
    "loss_nats/batch/b1",
    "loss_nats/kind/general",
    "gradient_norm",
    "displacement",
    "displacement_pretrained",
    "decision_tokens_per_second",
    "context_tokens_per_second",
    "learning_rate",
    "memory_bytes",
)
"""What one run measures after every step."""
BATCH_EVENTS = 250
"""Events that the supervisor hands over at once: 64 KiB of its log."""
_STATES = (
    *[("succeeded", 0)] * 14,
    *[("failed", 1)] * 2,
    ("failed", 3),
    ("cancelled", 143),
    ("running", None),
    ("queued", None),
)
_METHODS = ("adamw", "lora", "apollo", "apollo_mini")
_PARENTS = 40
_AT_ONCE = 500


class World:
    """The model, its checkpoints and one batch, and runs among them."""

    def __init__(self) -> None:
        from ftportal.accounts.models import User
        from ftportal.checkpoints.models import LanguageModel
        from ftportal.datasets.models import Batch, BatchState

        self._draw = random.Random(0)  # noqa: S311
        self.viewer = User.objects.create_user("vera", password=None, is_trainer=True)
        self._model = LanguageModel.objects.create(
            name="Small", source="the benchmark", parameter_count=1
        )
        (anchor,) = self._checkpoints(["Anchor"], None)
        self._parents = self._checkpoints([f"Parent {n}" for n in range(_PARENTS)], anchor)
        self._batch = Batch.objects.create(
            name="Talks",
            kind="general",
            language_model=self._model,
            state=BatchState.READY,
            filename="talks.jsonl",
            sha256="0" * 64,
            size_bytes=1,
            example_count=1000,
            held_out_count=0,
            context_token_count=1,
            decision_token_count=1,
        )
        self._number = 0

    def _checkpoints(self, names: Sequence[str], parent: Any) -> list[Any]:
        from ftportal.checkpoints.models import Checkpoint

        return Checkpoint.objects.bulk_create(
            Checkpoint(
                language_model=self._model,
                parent=parent,
                depth=1 if parent else 0,
                name=name,
                path=f"checkpoints/{name}",
                manifest_hash=f"{abs(hash(name)):064d}"[:64],
                size_bytes=1,
            )
            for name in names
        )

    def runs(self, count: int) -> list[Any]:
        """More runs, without points: of every state and method, from some forty parents."""
        made = []
        for start in range(0, count, _AT_ONCE):
            made += self._runs(min(_AT_ONCE, count - start))
        return made

    def _runs(self, count: int) -> list[Any]:
        from django.utils import timezone

        from ftportal.jobs.models import Job
        from ftportal.runs.models import Run, RunBatch

        numbers = range(self._number, self._number + count)
        self._number += count
        states = {number: self._draw.choice(_STATES) for number in numbers}
        jobs = Job.objects.bulk_create(
            Job(
                kind="train",
                queue="train",
                title=f"Train {number}",
                state=state,
                exit_code=exit_code,
                finish_handled=exit_code is not None,
            )
            for number, (state, exit_code) in states.items()
        )
        done = [number for number, (state, _) in states.items() if state == "succeeded"]
        outputs = self._checkpoints([f"Result {number}" for number in done], self._parents[0])
        output_of = dict(zip(done, outputs, strict=True))
        runs = Run.objects.bulk_create(
            Run(
                name=f"Run {number}",
                note="Tried at another rate, with the same batch." if number % 7 == 0 else "",
                tags=self._draw.choice(["", "friday", "careful, long"]),
                parent=self._draw.choice(self._parents),
                output=output_of.get(number),
                job=job,
                submitter=self.viewer,
                recipe=self._recipe(),
                forecast={f"field_{n}": self._draw.random() for n in range(20)},
                summary={f"field_{n}": self._draw.random() for n in range(40)},
            )
            for number, job in zip(numbers, jobs, strict=True)
        )
        for run in runs:
            run.created_at = timezone.now() - timedelta(minutes=self._draw.randrange(10**6))
        Run.objects.bulk_update(runs, ["created_at"])
        RunBatch.objects.bulk_create(RunBatch(run=one, batch=self._batch, weight=1) for one in runs)
        return runs

    def _recipe(self) -> dict[str, Any]:
        return {
            "method": {"name": self._draw.choice(_METHODS), "rank": 256},
            "learning_rate": 10 ** self._draw.uniform(-6, -3),
            "schedule": "cosine",
            "warmup_steps": 10,
            "epochs": 1,
            "seed": 0,
            "context_frozen": True,
            "dtype": "float32",
            "watch": {"watch_every_steps": 50, "brake_rise": None},
            "diagnostics": {"diagnostics_share": 0.05},
        }

    def measure(self, run: Any, steps: int, names: Sequence[str] = METRICS) -> int:
        """Points of a run, each a double with all its digits; returns how many."""
        from django.db import transaction

        from ftportal.runs.kind import run_events

        with transaction.atomic():
            for events in self._events(steps, names):
                run_events(run.job, events)
        return steps * len(names)

    def _events(self, steps: int, names: Sequence[str]) -> Iterator[list[Any]]:
        from engine.events import Metric

        for start in range(1, steps + 1, BATCH_EVENTS):
            yield [
                Metric(step=step, values={name: self._draw.gauss(2, 0.5) for name in names})
                for step in range(start, min(steps, start + BATCH_EVENTS - 1) + 1)
            ]
