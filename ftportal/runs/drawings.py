"""The charts of a run's page, and the same series as JSON while it runs."""

from dataclasses import dataclass, replace
from typing import Any

from django.urls import reverse

from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.runs.diagnostics_drawings import diagnostics_drawings
from ftportal.runs.drawing import Drawing, plain, sampled_words, smooth
from ftportal.runs.forgetting_drawings import forgetting_drawings
from ftportal.runs.metrics import MEAN_STEPS
from ftportal.runs.models import Run
from ftportal.runs.recipes import batch_key, length_words
from ftportal.runs.selectors import displacement_forecast_words

_NATS = "nats per decision token"
GROUPS = {
    "learning": "What it learns",
    "forgetting": "What it forgets meanwhile",
    "weights": "How far the weights move",
    "pace": "Speed and rate",
}
"""Headings, in the order of the page; only loss and perplexity stand open."""
_OPEN = ("loss", "probes")


@dataclass(frozen=True, kw_only=True)
class ChartGroup:
    """Charts under one heading; folded ones are drawn when somebody opens them."""

    title: str
    open: list[Chart]
    folded: list[Chart]

    @property
    def charts(self) -> list[Chart]:
        """All of them, those that stand open first."""
        return [*self.open, *self.folded]


def _loss_by_batch(run: Run) -> list[Series]:
    batches = [part.batch for part in run.mixture.select_related("batch")]
    if len(batches) == 1:
        return smooth(run, {"loss_nats": str(batches[0])})
    titles = {
        f"loss_nats/batch/{batch_key(one)}": f"{one} ({one.get_kind_display().lower()})"
        for one in batches
    }
    total, *each = smooth(run, {"loss_nats": "All batches"} | titles)
    return [replace(total, raw=None, has_points=False), *each]


def _kinds(run: Run) -> dict[str, str]:
    parts = run.mixture.select_related("batch")
    return {str(part.batch.kind): part.batch.get_kind_display() for part in parts}


def _loss_by_kind(run: Run) -> list[Series]:
    return smooth(run, {f"loss_nats/kind/{kind}": word for kind, word in _kinds(run).items()})


def _gradient(run: Run) -> list[Series]:
    return plain(run, {"gradient_norm": "Gradient norm"})


def _displacement(run: Run) -> list[Series]:
    titles = {"displacement": "From the parent"}
    if not run.parent.is_pretrained:
        titles["displacement_pretrained"] = "From the pre-trained model"
    return plain(run, titles)


def _speed(run: Run) -> list[Series]:
    titles = {"decision": "Decision tokens", "context": "Context tokens"}
    return smooth(run, {f"{which}_tokens_per_second": title for which, title in titles.items()})


def _rate(run: Run) -> list[Series]:
    return plain(run, {"learning_rate": "Learning rate"})


_MEANS = f"Lines: mean of the last {MEAN_STEPS} steps; points: each step."
_LOSS = Drawing(
    key="loss",
    title="Loss by batch",
    y_label=_NATS,
    group="learning",
    series=_loss_by_batch,
    caption=_MEANS,
)
_KINDS = Drawing(
    key="kinds",
    title="Loss by kind",
    y_label=_NATS,
    group="learning",
    series=_loss_by_kind,
    caption=_MEANS,
)
_GRADIENT = Drawing(
    key="gradient",
    title="Gradient norm",
    y_label="L2 norm before clipping",
    group="weights",
    series=_gradient,
    y_from_zero=True,
)
_DISPLACEMENT = Drawing(
    key="displacement",
    title="Displacement of the weights",
    y_label="L2 norm",
    group="weights",
    series=_displacement,
    y_from_zero=True,
    sampled="displacement",
)
_SPEED = Drawing(
    key="speed",
    title="Speed",
    y_label="tokens per second",
    group="pace",
    series=_speed,
    caption=_MEANS,
    y_from_zero=True,
)
_RATE = Drawing(
    key="rate",
    title="Learning rate",
    y_label="rate",
    group="pace",
    series=_rate,
    y_from_zero=True,
    y_format="%.1e",
)


def drawings(run: Run) -> list[Drawing]:
    """The charts that say something about this run."""
    batches = run.mixture.count()
    kinds = [_KINDS] if 1 < len(_kinds(run)) < batches else []
    constant = run.recipe.get("schedule") == "constant" and not run.recipe.get("warmup_steps")
    rate = [] if constant else [_RATE]
    effects = [_DISPLACEMENT, _GRADIENT, *diagnostics_drawings(run)]
    return [_LOSS, *kinds, *forgetting_drawings(run), *effects, _SPEED, *rate]


def run_charts(run: Run) -> list[ChartGroup]:
    """The charts of a run's page, by heading; they follow the run while it lives."""
    shown = drawings(run)
    groups = []
    for key, title in GROUPS.items():
        own = [(one.key in _OPEN, _chart(run, one)) for one in shown if one.group == key]
        if own:
            opened = [chart for is_open, chart in own if is_open]
            folded = [chart for is_open, chart in own if not is_open]
            groups.append(ChartGroup(title=title, open=opened, folded=folded))
    return groups


def _chart(run: Run, drawing: Drawing) -> Chart:
    url = reverse("runs:metrics", args=[run.pk]) + f"?chart={drawing.key}"
    steps = run.forecast.get("step_count")
    marks = dict(drawing.marks(run)) if drawing.marks else {}
    caption = drawing.words(run) if drawing.words else drawing.caption
    if drawing.key == "displacement" and run.forecast.get("displacement") is not None:
        ahead = run.forecast["displacement"]
        marks = {f"forecast {length_words(ahead)}": ahead}
        caption = _forecast_words(run)
    if drawing.sampled:
        caption = f"{caption} {sampled_words(run, drawing.sampled, drawing.unmeasured)}".strip()
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


def _forecast_words(run: Run) -> str:
    measured = run.summary.get("displacement")
    outcome = "" if measured is None else f", measured {length_words(measured)}"
    return f"Forecast for the end {displacement_forecast_words(run)}{outcome}."


def run_update(run: Run, key: str = "") -> dict[str, Any]:
    """{"live", "series"} as charts.js takes it: of one chart, or of all when `key` is empty."""
    chosen = [one for one in drawings(run) if key in ("", one.key)]
    return {
        "live": run.job.is_live,
        "series": {one.name: one.update() for drawing in chosen for one in drawing.series(run)},
    }
