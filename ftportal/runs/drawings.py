"""The charts of a run's page, and the same series as JSON while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.runs.metrics import MEAN_STEPS, metric_series, metric_smooth
from ftportal.runs.models import Run
from ftportal.runs.recipes import batch_key, length_words

_NATS = "nats per decision token"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One chart of a run: what it says, and the lines in it."""

    key: str
    title: str
    y_label: str
    series: Callable[[Run], list[Series]]
    caption: str = ""
    y_from_zero: bool = False
    y_format: str = ""


def _smooth(run: Run, name: str, title: str) -> Series:
    found = metric_smooth(run, name)
    return Series(name=title, x=found.steps, y=found.means, raw=found.measured)


def _plain(run: Run, name: str, title: str) -> Series:
    steps, values = metric_series(run, name)
    return Series(name=title, x=steps, y=values)


def _loss_by_batch(run: Run) -> list[Series]:
    parts = list(run.mixture.select_related("batch"))
    if len(parts) == 1:
        return [_smooth(run, "loss_nats", str(parts[0].batch))]
    total = metric_smooth(run, "loss_nats")
    line = Series(name="All batches", x=total.steps, y=total.means, has_points=False)
    return [line] + [
        _smooth(
            run,
            f"loss_nats/batch/{batch_key(part.batch)}",
            f"{part.batch} ({part.batch.get_kind_display().lower()})",
        )
        for part in parts
    ]


def _kinds(run: Run) -> dict[str, str]:
    parts = run.mixture.select_related("batch")
    return {str(part.batch.kind): part.batch.get_kind_display() for part in parts}


def _loss_by_kind(run: Run) -> list[Series]:
    return [_smooth(run, f"loss_nats/kind/{kind}", word) for kind, word in _kinds(run).items()]


def _gradient(run: Run) -> list[Series]:
    return [_plain(run, "gradient_norm", "Gradient norm")]


def _displacement(run: Run) -> list[Series]:
    series = [_plain(run, "displacement", "From the parent")]
    if not run.parent.is_pretrained:
        series.append(_plain(run, "displacement_pretrained", "From the pre-trained model"))
    return series


def _speed(run: Run) -> list[Series]:
    return [
        _smooth(run, "decision_tokens_per_second", "Decision tokens"),
        _smooth(run, "context_tokens_per_second", "Context tokens"),
    ]


def _rate(run: Run) -> list[Series]:
    return [_plain(run, "learning_rate", "Learning rate")]


def _penalty(run: Run) -> list[Series]:
    names = {"l2_strength": ("l2", "L2"), "ewc_strength": ("ewc", "EWC")}
    defences = run.recipe.get("defences") or {}
    return [
        _plain(run, f"penalty_nats/{metric}", word)
        for field, (metric, word) in names.items()
        if defences.get(field) is not None
    ]


_MEANS = f"Lines: mean of the last {MEAN_STEPS} steps; points: each step."
_LOSS = Drawing(
    key="loss", title="Loss by batch", y_label=_NATS, series=_loss_by_batch, caption=_MEANS
)
_KINDS = Drawing(
    key="kinds", title="Loss by kind", y_label=_NATS, series=_loss_by_kind, caption=_MEANS
)
_GRADIENT = Drawing(
    key="gradient",
    title="Gradient norm",
    y_label="L2 norm before clipping",
    series=_gradient,
    y_from_zero=True,
)
_DISPLACEMENT = Drawing(
    key="displacement",
    title="Displacement of the weights",
    y_label="L2 norm",
    series=_displacement,
    y_from_zero=True,
)
_PENALTY = Drawing(
    key="penalty",
    title="What the defences add to the loss",
    y_label=_NATS,
    series=_penalty,
    caption="½ · strength · Σ importance · (weight − parent's weight)², before each step.",
    y_from_zero=True,
)
_SPEED = Drawing(
    key="speed",
    title="Speed",
    y_label="tokens per second",
    series=_speed,
    caption=_MEANS,
    y_from_zero=True,
)
_RATE = Drawing(
    key="rate",
    title="Learning rate",
    y_label="rate",
    series=_rate,
    y_from_zero=True,
    y_format="%.1e",
)


def drawings(run: Run) -> list[Drawing]:
    """The charts that say something about this run."""
    batches = run.mixture.count()
    kinds = [_KINDS] if 1 < len(_kinds(run)) < batches else []
    constant = run.recipe.get("schedule") == "constant" and not run.recipe.get("warmup_steps")
    penalty = [_PENALTY] if _penalty(run) else []
    rate = [] if constant else [_RATE]
    return [_LOSS, *kinds, _DISPLACEMENT, *penalty, _GRADIENT, _SPEED, *rate]


def run_charts(run: Run) -> list[Chart]:
    """The charts of a run's page; they follow the run while it lives."""
    return [_chart(run, drawing) for drawing in drawings(run)]


def _chart(run: Run, drawing: Drawing) -> Chart:
    url = reverse("runs:metrics", args=[run.pk]) + f"?chart={drawing.key}"
    steps = run.forecast.get("step_count")
    marks, caption = {}, drawing.caption
    if drawing.key == "displacement" and run.forecast.get("displacement") is not None:
        ahead = run.forecast
        low, middle, high = (
            length_words(ahead[f"displacement{which}"]) for which in ("_low", "", "_high")
        )
        marks = {f"forecast {middle}": ahead["displacement"]}
        caption = f"Forecast for the end: {low} to {high}."
    return line_chart(
        title="Loss" if drawing is _LOSS and run.mixture.count() == 1 else drawing.title,
        x_label="step",
        y_label=drawing.y_label,
        series=drawing.series(run),
        caption=caption,
        y_from_zero=drawing.y_from_zero,
        y_format=drawing.y_format,
        x_range=(0, steps) if steps else None,
        marks=marks,
        update_url=url if run.job.is_live else "",
    )


def run_update(run: Run, key: str = "") -> dict[str, Any]:
    """{"live", "series"} as charts.js takes it: of one chart, or of all when `key` is empty."""
    chosen = [one for one in drawings(run) if key in ("", one.key)]
    return {
        "live": run.job.is_live,
        "series": {one.name: one.update() for drawing in chosen for one in drawing.series(run)},
    }
