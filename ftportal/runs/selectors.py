"""What pages and other floors read about runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import lineage
from ftportal.datasets.models import Batch
from ftportal.jobs.models import LIVE_STATES
from ftportal.pages.templatetags.pages import NOTHING, duration, si
from ftportal.runs.metrics import metric_last, metric_names, metric_series
from ftportal.runs.models import Run
from ftportal.runs.recipes import length_words, recipe_flatten, shares
from training.methods import METHODS

__all__ = [
    "batches_learned",
    "metric_names",
    "metric_series",
    "run_again_url",
    "run_list",
]
_OF_A_METHOD = ("rank", "scale", "lora_alpha", "base_bits")
"""Fields of a recipe that mean something else with another method, or nothing."""

PARENTS_LISTED = 200
"""More checkpoints than this are not chosen from a list, but found by a part of their names."""
STATE_FILTERS = {
    "live": "waiting or running",
    "succeeded": "done",
    "failed": "failed",
    "diverged": "diverged",
    "cancelled": "stopped",
}


def run_list(
    *, state: str = "", method: str = "", parent: str = "", text: str = ""
) -> QuerySet[Run]:
    """Runs for the list page; empty does not filter.

    parent: a checkpoint's name, or where none is called so, a part of one.
    """
    runs = Run.objects.select_related("job", "parent", "output", "submitter").defer(
        "forecast", "summary", "warnings"
    )
    if state == "live":
        runs = runs.filter(job__badge__in=LIVE_STATES)
    elif state in STATE_FILTERS:
        runs = runs.filter(job__badge=state)
    if method in METHODS:
        runs = runs.filter(method=method)
    if parent:
        exactly = runs.filter(parent__name=parent)
        runs = exactly if exactly.exists() else runs.filter(parent__name__icontains=parent)
    if text:
        runs = runs.filter(
            Q(name__icontains=text) | Q(tags__icontains=text) | Q(note__icontains=text)
        )
    return runs


def parent_names() -> list[str]:
    """Checkpoints that runs started from, for a filter; none where too many to choose from."""
    started = Run.objects.filter(parent=OuterRef("pk"))
    parents = Checkpoint.objects.filter(Exists(started)).order_by("name")
    names = list(parents.values_list("name", flat=True).distinct()[: PARENTS_LISTED + 1])
    return names if len(names) <= PARENTS_LISTED else []


def mixture_rows(run: Run) -> list[dict[str, Any]]:
    """The batches of a run, each with its share of the examples."""
    parts = list(run.mixture.select_related("batch"))
    portions = shares([(part.batch, part.weight) for part in parts])
    return [
        {"batch": part.batch, "weight": part.weight, "share": share}
        for part, share in zip(parts, portions, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """What was forecast of a run and what was measured, in words."""

    label: str
    forecast: str
    measured: str


def outcome_rows(run: Run) -> list[OutcomeRow]:
    """Forecast against outcome; a dash for what is not known (yet)."""
    ahead, summary = run.forecast.get, run.summary.get
    return [
        OutcomeRow(label="Steps", forecast=si(ahead("step_count")), measured=si(summary("steps"))),
        OutcomeRow(
            label="Displacement from the parent",
            forecast=displacement_forecast_words(run) or length_words(None),
            measured=length_words(summary("displacement")),
        ),
        OutcomeRow(
            label="Memory at its peak",
            forecast=_size_words(ahead("memory_bytes")),
            measured=_size_words(metric_last(run, "memory_bytes")),
        ),
        OutcomeRow(
            label="Time",
            forecast=duration(ahead("seconds")),
            # Runs of earlier versions counted the steps alone.
            measured=duration(summary("session_seconds", summary("seconds"))),
        ),
    ]


def _size_words(size_bytes: float | None) -> str:
    return NOTHING if size_bytes is None else filesizeformat(size_bytes)


def displacement_forecast_words(run: Run) -> str:
    """The displacement that was forecast, with its span: "1.8 (0.4 to 7)"; "" where none was."""
    ahead = run.forecast.get
    if ahead("displacement") is None:
        return ""
    names = ("displacement", "displacement_low", "displacement_high")
    middle, low, high = (length_words(ahead(name)) for name in names)
    return f"{middle} ({low} to {high})"


def run_again_url(run: Run, **changes: Any) -> str:
    """The new-run form filled in with a run's parent, mixture and recipe, but for `changes`.

    Keys of `changes` are the form's fields (learning_rate, method, parent, ...) or weight_<batch>.
    """
    fields = recipe_flatten(run.recipe)
    if changes.get("method", fields.get("method")) != fields.get("method"):
        for name in _OF_A_METHOD:
            fields.pop(name, None)
    fields |= {"parent": run.parent_id, "probe_set": run.probe_set_id or ""}
    fields |= {f"weight_{part.batch_id}": f"{part.weight:g}" for part in run.mixture.all()}
    fields |= changes
    return f"{reverse('runs:run_new')}?{urlencode(fields)}"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A batch that a lineage has learned, and the last of its checkpoints that did."""

    batch: Batch
    checkpoint: Checkpoint
    run: Run


def batches_learned(
    checkpoint: Checkpoint, stands_for: Mapping[int, int] | None = None
) -> list[Learned]:
    """The batches that a checkpoint and its ancestors were trained on, in the order of sessions.

    A batch that came again stands where it was learned last. `stands_for` names, for checkpoints
    of the lineage that no run made, another one whose run they know from.
    """
    path = lineage(checkpoint)
    makers = {at.pk: (stands_for or {}).get(at.pk, at.pk) for at in path}
    runs = Run.objects.filter(output__in=makers.values()).prefetch_related("mixture__batch")
    by_output = {run.output_id: run for run in runs}
    by_batch: dict[int, Learned] = {}
    for at in path:
        run = by_output.get(makers[at.pk])
        if run is None:
            continue
        for part in run.mixture.all():
            by_batch.pop(part.batch_id, None)
            by_batch[part.batch_id] = Learned(batch=part.batch, checkpoint=at, run=run)
    return list(by_batch.values())
