"""An app whose jobs count, for worker processes that tests start. It keeps what it was told."""

import json
from pathlib import Path
from typing import Any

from django.apps import AppConfig

from engine.events import Event, Metric


class CountingConfig(AppConfig):
    """Registers the kinds "count" (queue train), "measure" (evaluate) and "real" (train)."""

    name = "tests.engines"
    label = "counting"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        """Register the kinds."""
        from ftportal.jobs.registry import JobKind, register

        for name, queue, module in (
            ("count", "train", "tests.engines.counting"),
            ("measure", "evaluate", "tests.engines.counting"),
            ("real", "train", "training"),
        ):
            register(
                JobKind(
                    name=name,
                    queue=queue,  # type: ignore[arg-type]
                    module=module,
                    config=config,
                    on_events=on_events,
                    on_finish=on_finish,
                    resumable=True,
                )
            )


def config(job: Any) -> dict[str, Any]:
    """The test lays it beside the job's directory."""
    loaded: dict[str, Any] = json.loads(job.directory.with_suffix(".json").read_text())
    return loaded


def on_events(job: Any, events: list[Event]) -> None:
    """Append metrics to a file."""
    with job.directory.with_suffix(".metrics").open("a") as file:
        for event in events:
            if isinstance(event, Metric):
                file.write(f"{event.step}\n")


def on_finish(job: Any) -> None:
    """Append the state to a file: more than one line would be more than one end."""
    with job.directory.with_suffix(".finished").open("a") as file:
        file.write(f"{job.state}\n")
