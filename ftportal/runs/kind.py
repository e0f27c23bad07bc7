"""Runs as jobs: the engine's configuration, its events, and the end."""

from collections import defaultdict
from typing import Any

from engine.checks import ConfigError
from engine.events import Caution, Done, Event
from engine.events import Metric as Measured
from engine.process import BAD_INPUT, DIVERGED
from engine.seals import Seal
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.seals import checkpoint_seals
from ftportal.datasets.seals import batch_seals, held_out_seals
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.jobs.registry import JobKind, JobRefusedError
from ftportal.runs.curves import NAME_CHARACTERS, points_add
from ftportal.runs.models import Run
from ftportal.runs.recipes import config_build
from ftportal.runs.services import KIND, run_finish

WARNINGS_KEPT = 50


def run_config(job: Job) -> dict[str, Any]:
    """config.json of a run's job; JobRefusedError where its parent or its batches have gone."""
    run = _run(job)
    if run.parent.deleted_at is not None:
        raise JobRefusedError(
            "parent", f"The files of {run.parent} were deleted.", "Start from another checkpoint."
        )
    mixture = [(part.batch, part.weight) for part in run.mixture.select_related("batch")]
    for batch, _ in mixture:
        if not batch.examples_path.is_file():
            raise JobRefusedError(
                f"batch {batch}", "Its examples are gone from the disk.", "Upload the file again."
            )
    probes = run.probe_set
    if probes is not None and not probes.path.is_file():
        raise JobRefusedError(
            f"texts {probes}", "They are gone from the disk.", "Upload the same file again."
        )
    what: Any = {"parent": run.parent, "mixture": mixture, "recipe": run.recipe}
    try:
        return config_build(**what, probe_set=probes).to_json()
    except ConfigError as error:
        raise JobRefusedError(error.where, error.message, error.cure) from error


def run_seals(job: Job) -> list[Seal]:
    """What a run reads: its parent, the anchor, its batches and the text that is watched."""
    run = _run(job)
    batches = [part.batch for part in run.mixture.select_related("batch")]
    seals = checkpoint_seals(run.parent, run.parent.language_model.pretrained)
    seals += [seal for batch in batches for seal in batch_seals(batch)]
    return seals + (held_out_seals(run.probe_set) if run.probe_set else [])


def run_events(job: Job, events: list[Event]) -> None:
    """Store metrics, warnings and the summary. A repeated step replaces its values."""
    run = _run(job)
    measured: dict[str, dict[int, float | None]] = defaultdict(dict)
    for event in events:
        if isinstance(event, Measured):
            for name, value in event.values.items():
                measured[name[:NAME_CHARACTERS]][event.step] = value
    points_add(run, measured)
    _words_keep(run, events)


def _words_keep(run: Run, events: list[Event]) -> None:
    warnings = list(run.warnings)
    summary = run.summary
    for event in events:
        if isinstance(event, Caution):
            warning = {"where": event.where, "message": event.message}
            if warning not in warnings and len(warnings) < WARNINGS_KEPT:
                warnings.append(warning)
        elif isinstance(event, Done):
            summary = dict(event.summary)
    if warnings != run.warnings or summary is not run.summary:
        Run.objects.filter(pk=run.pk).update(warnings=warnings, summary=summary)


def run_finished(job: Job) -> None:
    """What follows the end of a run's job."""
    run_finish(run=_run(job))


def run_sweep() -> None:
    """Finish runs whose engine has ended well but which have no checkpoint."""
    lost = Run.objects.filter(
        job__state=JobState.SUCCEEDED,
        job__finish_handled=True,
        output__isnull=True,
        same_as__isnull=True,
    )
    for run in lost.select_related("job", "parent"):
        run_finish(run=run)


def parent_needed(checkpoint: Checkpoint, **_: Any) -> str | None:
    """The objection to deleting a checkpoint that a waiting or working run starts from."""
    run = Run.objects.filter(parent=checkpoint, job__state__in=LIVE_STATES).first()
    return f"The run {run} starts from it." if run else None


def _run(job: Job) -> Run:
    related = ("job", "parent__language_model", "probe_set")
    return Run.objects.select_related(*related).get(job=job)


TRAIN = JobKind(
    name=KIND,
    word="Training",
    queue="train",
    module="training",
    config=run_config,
    seals=run_seals,
    on_events=run_events,
    on_finish=run_finished,
    sweep=run_sweep,
    restricted_by=("run__parent__language_model",),
    resumable=True,
    final_exit_codes=frozenset({BAD_INPUT, DIVERGED}),
)
